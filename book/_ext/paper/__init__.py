"""The book on paper: the pages that `make book` built, as one PDF with bookmarks, contents and solutions."""

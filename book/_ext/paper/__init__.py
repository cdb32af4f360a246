"""The book on paper: all pages that `make book` built, as one PDF with bookmarks, page numbers, contents and solutions."""

"""For all tests, the notebooks' cells (nbval) among them: no progress bars, which come and go with the machine's pace."""

import os

os.environ["TQDM_DISABLE"] = "1"

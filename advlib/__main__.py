"""``python -m advlib`` is the command ``advlib``, where that is not on the path."""

import sys

from advlib.cli import main

sys.exit(main())

"""Makes ``import dassl`` work with or without an installed Dassl. Importing this
package appends its own folder to the *end* of ``sys.path``: an installed Dassl is found
first, otherwise the built-in one in ``toolkit/dassl``.
"""

import sys
from pathlib import Path

_FOLDER = str(Path(__file__).resolve().parent)
if _FOLDER not in sys.path:
    sys.path.append(_FOLDER)


def which_dassl() -> str:
    """Return the name of the Dassl that runs, such as "dassl 0.6.3 (installed)"."""
    import dassl

    origin = Path(dassl.__file__).resolve()
    if origin.is_relative_to(_FOLDER):
        return "toolkit/dassl (built in)"
    return f"dassl {getattr(dassl, '__version__', '(unknown version)')} (installed)"

"""From a notebook to a report page; a notebook needs these five functions:

    from ohlora_lib.pages import end, finding, say, show, start

`start` checks the parameters and opens the output folder, `show` puts a figure on the page, `say`
a sentence, `finding` the one-sentence result with its headline numbers; `end` completes the page.
"""

from ohlora_lib.pages.notebook import end, finding, say, show, start

__all__ = ["end", "finding", "say", "show", "start"]

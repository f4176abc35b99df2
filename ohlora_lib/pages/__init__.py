"""From a notebook to a report page; a notebook uses these functions:

    from ohlora_lib.pages import end, finding, fold, say, show, start

`start` checks the parameters and opens the output folder, `show` puts a figure on the page, `say`
a sentence, `fold` what opens on a click, `finding` the one-sentence result with its headline
numbers; `end` completes the page.
"""

NOTEBOOK = ("end", "finding", "fold", "say", "show", "start")


def __getattr__(name: str):
    # Imported on first use: the runner needs this package without pandas and matplotlib.
    if name in NOTEBOOK:
        from ohlora_lib.pages import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

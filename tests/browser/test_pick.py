"""Picking in a real browser, and notebook 09 with the picks."""

import numpy as np
import pandas as pd
from selenium.webdriver.common.keys import Keys

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.selection_rules import read_picks
from ohlora_lib.widgets.picker import RESPONSES, SIDE_EFFECTS
from tests.browser.label import Answering, numbered_images
from tests.notebooks.page import runner

SOURCE = """
from pathlib import Path
import pandas as pd
from ohlora_lib.store.images import ImageSet
from ohlora_lib.widgets.picker import Picker
folder = Path({folder!r})
tested = pd.read_parquet(folder / "tested.parquet")
Picker(ImageSet(folder / "sheets"), folder / "picks.csv", tested, "the test")
"""


def test_picks_made_by_keys_and_mouse_are_followed_by_notebook_09(
    lab, open_notebook, driver, tmp_path
):
    folder = lab.folder / "pick"
    numbered_images(folder / "sheets", 3, size=400)
    columns = [c.format(name) for c in RESPONSES.values() for name in EXPRESSION]
    values = np.full((3, len(columns) + len(SIDE_EFFECTS)), 0.25)
    tested = pd.DataFrame(values, columns=[*columns, *SIDE_EFFECTS.values()])
    tested.assign(idx=range(3)).to_parquet(folder / "tested.parquet")
    lab.write("notebooks/pick.ipynb", SOURCE.format(folder=str(folder)))
    driver.set_window_size(1366, 768)
    notebook = open_notebook("notebooks/pick.ipynb")
    notebook.run_all()
    person = Answering(notebook)
    person.start()

    def status(text):
        notebook.wait(lambda _: text in notebook.text(".oa-status"))

    status("Sheet 1 of 3 · 0 saved · latent 0")
    assert "0.25" in notebook.text(".oa-measured")
    stops = notebook.tab_stops(".oa-root")
    assert stops[0] in ("see more", "next sheet") and stops[-1] == "other"
    expected = {"Fifty expressions of latent 0", "eyes 최상 excellent", "pose 하 low", "uncanny"}
    assert expected <= {*stops}
    person.start()
    person.space()
    assert "Keep or drop" in notebook.text(".oa-reminder") and person.in_window(".oa-reminder")
    notebook.press("1")
    notebook.wait(lambda _: "Keep or drop" not in notebook.text(".oa-panel"))
    notebook.press("2", "3", "k")
    person.space()
    status("Sheet 2 of 3 · 1 saved")
    notebook.click(".oa-choice[aria-keyshortcuts='c']")
    notebook.press("n", "odd, she is", Keys.ENTER)
    person.space()
    status("Sheet 3 of 3 · 2 saved")
    keep = ".oa-choice[aria-keyshortcuts='k']"
    notebook.press("4", "k")
    notebook.press("uu")
    assert notebook.attribute(keep, "aria-checked") == "false"
    notebook.press("rr")
    assert notebook.attribute(keep, "aria-checked") == "true"
    notebook.press("z", holding=Keys.CONTROL)
    notebook.press("x")
    person.space()
    status("Sheet 3 of 3 · 3 saved")
    done = notebook.text(".oa-done")
    assert "All 3 latents are decided: 1 kept, 2 dropped" in done and person.in_window(".oa-done")
    assert "Grades: 1 with all 3, 1 with some, 1 without" in done

    picks = read_picks(folder / "picks.csv").set_index("idx")
    assert picks["chosen"].tolist() == [1, 0, 0]
    assert picks.loc[0, list(EXPRESSION)].tolist() == ["최상", "상", "중"]
    assert picks.loc[1, ["reason", "note"]].tolist() == ["uncanny", "odd, she is"]
    assert picks.loc[2, "eyes"] == "하" and picks.loc[2, ["mouth", "pose"]].isna().all()

    notebook.run_all()  # again: all is there
    status("3 saved")
    page = runner(tmp_path)("09", picks=str(folder / "picks.csv"))
    assert page.scope["table"].query("selected")["idx"].tolist() == [0]
    assert "Person and rules decide alike on 67% of 3 latents" in page.text
    agreed = page.scope["agreed"]
    assert agreed.loc["eyes", "latents"] == 2 and agreed.loc["pose", "latents"] == 1

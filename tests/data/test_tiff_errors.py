"""What libtiff finds wrong is the file's reason; it neither prints nor passes as a picture."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pictures import encoded, picture
from PIL import Image

from protect.data.decode import decode
from protect.errors import ImageRefused

SOUND = encoded(picture("1", (40, 30)), "TIFF", compression="group4")
DAMAGED = SOUND[:12] + bytes(28) + SOUND[40:]

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Pillow has libtiff inside itself there, out of reach"
)


def test_a_damaged_fax_is_refused_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "a.tif").write_bytes(DAMAGED)
    with pytest.raises(ImageRefused) as caught:
        decode(tmp_path / "a.tif")
    assert caught.value.message == "is damaged: libtiff says so in Fax4Decode"
    assert caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_outside_of_protect_libtiff_speaks_as_ever(capfd: pytest.CaptureFixture[str]):
    with Image.open(io.BytesIO(DAMAGED)) as image:
        image.load()
    assert "Fax4Decode: Bad code word at line " in capfd.readouterr().err


def test_each_thread_hears_of_its_own_picture_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    paths = [tmp_path / f"{number}.tif" for number in range(200)]
    for number, path in enumerate(paths):
        path.write_bytes(DAMAGED if number % 3 else SOUND)

    def is_refused(path: Path) -> bool:
        try:
            decode(path)
        except ImageRefused:
            return True
        return False

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(is_refused, paths))
    assert found == [bool(number % 3) for number in range(200)]
    assert capfd.readouterr() == ("", "")

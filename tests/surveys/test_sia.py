"""SIA, DataLink and SODA on loopback: three bands of turned and mirrored tiles become one picture, north up."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyvo")
pytest.importorskip("reproject")

from skyserver import FRAME, Fault, Source, picture, sky_server

from tuningfork.images.image import ImageError
from tuningfork.surveys.client import Answer, Client
from tuningfork.surveys.registry import SurveyError, SurveyOptions, open_source
from tuningfork.surveys.sia import _results

PLACES = [Source(0, 150.1, 2.2), Source(1, 0.001, 40.0), Source(2, 150.1, 2.205)]


@pytest.fixture(scope="module")
def sky():
    with sky_server(PLACES) as server:
        yield server


@pytest.fixture
def client():
    with Client(rate=1000, tries=2, pause=0.01, timeout=20) as client:
        yield client


@pytest.fixture(autouse=True)
def _fresh(sky):
    sky.asked.clear()


@pytest.mark.parametrize("service", ["sia:{}/vo/sia2", "sia:{}/vo/sia2-datalink", "sia1:{}/vo/sia1"])
@pytest.mark.parametrize("place", PLACES[:2], ids=["turned", "turned and mirrored"])
def test_tiles_become_a_image_of_the_place_with_north_up(sky, client, service, place):
    source = open_source(service.format(sky.address), client=client)
    cutout = source.cutout(place.ra, place.dec, FRAME, 212)
    seen = cutout.rgb.astype(int)
    assert seen.shape == (212, 212, 3)
    # The red spot is north, the blue one east, each where it was to half a pixel of the tiles.
    for colour, expected in ((0, (27.5, 211.5)), (2, (211.5, 27.5))):
        row, column = (round(at / 2) for at in expected)
        near = seen[row - 12 : row + 12, column - 12 : column + 12]
        weight = np.clip(near[..., colour] - near[..., 2 - colour] - 60, 0, None)
        rows, columns = np.mgrid[row - 12 : row + 12, column - 12 : column + 12]
        spot = [np.average(axis, weights=weight) for axis in (rows, columns)]
        assert spot == pytest.approx((np.array(expected) - 0.5) / 2, abs=0.75)
    # The galaxy's own light is there too, whatever the stretch made of it.
    own = picture(place.number)[::2, ::2].mean(2)
    middle = slice(40, 172)
    assert np.corrcoef(seen.mean(2)[middle, middle].ravel(), own[middle, middle].ravel())[0, 1] > 0.8
    told = cutout.provenance
    assert told.source == "sia"
    assert told.pixel_scale == pytest.approx(0.2)
    assert told.address.startswith(sky.address)
    cut = [path for _, path in sky.asked if path.startswith("/vo/soda")]
    assert len(cut) == (3 if "datalink" in service else 0)


def test_one_band_is_grey_and_bands_are_known_by_name(sky, client):
    source = open_source(f"sia:{sky.address}/vo/sia2", SurveyOptions(layer="r"), client=client)
    cutout = source.cutout(150.1, 2.2, FRAME, 64)
    assert (cutout.rgb == cutout.rgb[..., :1]).all()
    assert cutout.provenance.layer == "r"
    assert [path for _, path in sky.asked][1:] == ["/vo/tile?ID=0-r"]
    with pytest.raises(ImageError, match="no image of band 'y'; there are "):
        open_source(f"sia:{sky.address}/vo/sia2", SurveyOptions(layer="y"), client=client).cutout(150.1, 2.2, FRAME, 64)


def test_a_place_at_the_edge_of_a_tile_says_so_and_one_beyond_is_an_error(sky, client):
    source = open_source(f"sia:{sky.address}/vo/sia2", SurveyOptions(layer="r"), client=client)
    assert "of the frame has no data" in source.cutout(0.001, 40.0 + 25 / 3600, FRAME, 64).warning
    with pytest.raises(ImageError, match=r"no data|no usable pixel"):
        source.cutout(0.001, 40.0 + 50 / 3600, FRAME, 64)
    with pytest.raises(ImageError, match="no image of this position"):
        source.cutout(20.0, 20.0, FRAME, 64)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("vo/broken", "the service says: no such table"),
        ("vo/damaged", "after 2 tries: a VOTable came damaged"),
        ("vo/nothing", "no image there (HTTP 404)"),
        ("own", "refused (HTTP 400"),
    ],
)
def test_what_an_archive_gets_wrong_is_the_row_s_error(sky, client, path, told):
    with pytest.raises(ImageError) as error:
        open_source(f"sia:{sky.address}/{path}", client=client).cutout(150.1, 2.2, FRAME, 64)
    assert told in str(error.value)


def test_a_page_in_place_of_a_votable(sky, client):
    sky.faults[1.0] = Fault("page")
    base = f"{sky.address}/own?ra=1&dec=2&fov=40&pixels=8"
    with pytest.raises(ImageError, match="web page instead of an image: Down for maintenance"):
        open_source(f"sia:{base}", client=client).cutout(150.1, 2.2, FRAME, 64)


@pytest.mark.parametrize(("spec", "layer"), [("sia:", None), ("sia:ftp://x/", None), ("sia:https://x/", "g,r")])
def test_what_is_no_service_is_refused(spec, layer):
    with pytest.raises(SurveyError):
        open_source(spec, SurveyOptions(layer=layer))


def test_a_votable_that_points_elsewhere_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 100)
    for quote in ("'", '"'):
        body = (
            f'<VOTABLE version="1.4"><RESOURCE><TABLE><FIELD name="a" datatype="int"/><DATA><BINARY>'
            f"<STREAM\n href={quote}file://{secret}{quote}/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>"
        )
        with pytest.raises(ImageError, match="never fetched"):
            _results(None, Answer(body.encode(), "application/x-votable+xml", 0.0), "http://a")

"""Survey services on loopback: what is asked of them, what comes back, what each fault gives."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("requests")

from skyserver import FRAME, Fault, SkyServer, Source, picture, sky_server

from tuningfork.images.fits.framing import Framing
from tuningfork.images.image import ImageError
from tuningfork.surveys import CutoutError, CutoutFormat, Targets, download_cutouts
from tuningfork.surveys.cache import Cache
from tuningfork.surveys.client import Client, ServiceDown
from tuningfork.surveys.registry import SurveyError, SurveyOptions, open_source

PLACES = [Source(0, 150.1, 2.2), Source(1, 0.001, 40.0), Source(2, 210.0, -20.0), Source(3, 359.999, 79.0)]


@pytest.fixture(scope="module")
def sky():
    with sky_server(PLACES) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(sky: SkyServer):
    sky.faults.clear()
    sky.asked.clear()
    sky.asked_of.clear()


@pytest.fixture
def client():
    with Client(rate=1000, tries=3, pause=0.01, timeout=20, max_bytes=2**20) as client:
        yield client


def sources(sky: SkyServer, client: Client):
    """Every service, as a user names it."""
    return {
        "legacy": open_source("legacy", SurveyOptions(base=sky.viewer), client=client),
        "sdss": open_source("sdss", SurveyOptions(base=sky.address), client=client),
        "hips": open_source("hips:CDS/P/SDSS9/color", SurveyOptions(base=sky.hips2fits), client=client),
        "server": open_source(sky.template, client=client),
    }


@pytest.mark.parametrize("name", ["legacy", "sdss", "hips", "server"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.ra}_{place.dec}")
def test_a_galaxy_comes_from_its_place_with_north_up_and_east_left(sky, client, name, place):
    cutout = sources(sky, client)[name].cutout(place.ra, place.dec, FRAME, 424)
    told = cutout.provenance
    assert cutout.rgb.shape == (424, 424, 3)
    assert cutout.rgb.dtype == np.uint8
    # The server draws by the sky's trigonometry of its own; JPEG and the projection change little.
    difference = np.abs(cutout.rgb.astype(int) - picture(place.number))
    assert np.median(difference) <= 4
    north, east = cutout.rgb[28, 212].astype(int), cutout.rgb[212, 28].astype(int)
    assert north[0] > 150 > north[2]
    assert east[2] > 150 > east[0]
    assert told.source == name
    assert told.pixel_scale == pytest.approx(0.1)
    assert told.address.startswith(sky.address)
    assert told.time.startswith("20")
    assert told.time.endswith("Z")


def test_the_scale_is_the_one_asked_for(sky, client):
    place = PLACES[0]
    wide = sources(sky, client)["legacy"].cutout(place.ra, place.dec, 2 * FRAME, 424)
    assert wide.provenance.pixel_scale == pytest.approx(0.2)
    inner = np.abs(wide.rgb[106:318, 106:318].astype(int) - picture(0)[::2, ::2])
    assert np.median(inner) <= 8
    assert wide.rgb[:90].max() < 40  # nothing but sky beyond the galaxy's frame


def test_a_client_says_who_it_is(sky, client):
    sky.agents.clear()
    sources(sky, client)["legacy"].cutout(150.1, 2.2, FRAME, 64)
    assert len(sky.agents) == 1
    assert sky.agents.pop().startswith("tuningfork/")


#: Fault, what the row is told, how often it is asked (three tries).
FAULTS = {
    "404": ("no image there (HTTP 404", 1),
    "400": ("refused (HTTP 400", 1),
    "403": ("refused (HTTP 403", 1),
    "500": ("after 3 tries: HTTP 500", 3),
    "503": ("after 3 tries: HTTP 503", 3),
    "429 for an hour": ("asks to wait 3600 s", 1),
    "page": ("web page instead of an image: Down for maintenance", 1),
    "cut": ("after 3 tries: the answer was cut", 3),
    "cut picture": ("after 3 tries: the image came damaged", 3),
    "empty": ("after 3 tries: an empty answer", 3),
    "not a picture": ("answered with no image (JPEG, PNG or WebP) but application/octet-stream", 1),
    "blank": ("blank: outside of the survey's footprint", 1),
    "other size": ("an image of 100×100 px came instead of 64×64", 1),
    "oversize": ("an answer of 1000000000000 bytes; at most 1048576 are read", 1),
    "oversize untold": ("an answer of more than 1048576 bytes", 1),
    "redirects": ("leads from address to address, more than 5 times", 1),
    "closed": ("after 3 tries: the connection failed", 3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_reported_and_tried_as_often_as_it_is_worth(sky, client, fault):
    sky.faults[150.1] = Fault(fault)
    told, asked = FAULTS[fault]
    with pytest.raises(ImageError) as error:
        sources(sky, client)["legacy"].cutout(150.1, 2.2, 6.4, 64)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert sky.asked_of[150.1] == asked


@pytest.mark.parametrize("fault", ["stall", "trickle"])
def test_who_does_not_end_is_given_up(sky, fault):
    sky.faults[150.1] = Fault(fault)
    with Client(rate=1000, tries=2, pause=0.01, timeout=0.5, silence=0.3) as client:
        source = open_source("legacy", SurveyOptions(base=sky.viewer), client=client)
        with pytest.raises(ImageError, match="after 2 tries: no whole answer within"):
            source.cutout(150.1, 2.2, 6.4, 64)
    assert sky.asked_of[150.1] == 2


@pytest.mark.parametrize("fault", ["500", "503", "cut", "cut picture", "empty", "closed"])
def test_what_passes_is_tried_again_until_it_is_good(sky, client, fault):
    sky.faults[150.1] = Fault(fault, times=2)
    cutout = sources(sky, client)["legacy"].cutout(150.1, 2.2, 6.4, 64)
    assert cutout.rgb.shape == (64, 64, 3)
    assert sky.asked_of[150.1] == 3


def test_a_server_that_asks_to_wait_is_left_alone_so_long_by_all_threads(sky, client):
    sky.faults[150.1] = Fault("429", times=1)
    source = sources(sky, client)["legacy"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda ra: source.cutout(ra, 2.2, 6.4, 64), (150.1, 150.2, 150.3)))
        refused = next(at for at, path in sky.asked if "ra=150.1" in path)
        list(pool.map(lambda ra: source.cutout(ra, 2.2, 6.4, 64), (150.4, 150.5)))
    again = [at for at, path in sky.asked if "ra=150.1" in path][1]
    later = [at for at, path in sky.asked if "ra=150.4" in path or "ra=150.5" in path]
    assert again - refused >= 0.9
    assert min(later) - refused >= 0.9


@pytest.mark.parametrize("fault", ["429 for an hour", "503 until a date"])
def test_a_server_that_asks_for_an_hour_is_left_alone_for_it(sky, client, fault):
    sky.faults[150.1] = Fault(fault, times=1)
    source = sources(sky, client)["legacy"]
    for _ in range(3):
        with pytest.raises(ImageError, match=r"asks to wait 3[56][0-9][0-9] s; try it later"):
            source.cutout(150.1, 2.2, 6.4, 64)
    assert sky.asked_of[150.1] == 1


def test_no_more_requests_a_second_than_the_rate(sky):
    with Client(rate=50, pause=0.01) as client, ThreadPoolExecutor(8) as pool:
        source = sources(sky, client)["legacy"]
        begun = time.monotonic()
        list(pool.map(lambda n: source.cutout(150 + n / 100, 2.2, 6.4, 32), range(20)))
    assert time.monotonic() - begun >= 19 / 50


def test_blank_south_of_the_survey(sky, client):
    for name, source in sources(sky, client).items():
        with pytest.raises(ImageError, match="blank: outside of the survey's footprint"):
            source.cutout(10.0, -50.0, FRAME, 64)
        assert name


def test_an_unknown_layer_or_survey_is_reported_in_the_service_s_own_words(sky, client):
    with pytest.raises(ImageError, match="web page instead of an image: no such layer"):
        open_source("legacy", SurveyOptions(layer="nothing", base=sky.viewer), client=client).cutout(
            10.0, 2.0, FRAME, 64
        )
    with pytest.raises(ImageError, match=r"refused .HTTP 400: Bad request: no HiPS matches nothing/here"):
        open_source("hips:nothing/here", SurveyOptions(base=sky.hips2fits), client=client).cutout(10.0, 2.0, FRAME, 64)


@pytest.mark.parametrize(
    ("ra", "dec", "size", "pixels", "told"),
    [
        (np.nan, 2.0, 40, 64, "no position"),
        (361.0, 2.0, 40, 64, "outside of 0–360"),
        (10.0, -90.5, 40, 64, "outside of 0–360"),
        (10.0, 2.0, 0, 64, "a size of 0 arcsec"),
        (10.0, 2.0, np.nan, 64, "a size of nan arcsec"),
        (10.0, 2.0, 1e6, 64, "a size of 1e"),
        (10.0, 2.0, 40, 3001, "draws 8 to 3000"),
    ],
)
def test_what_is_no_place_is_not_asked_for(sky, client, ra, dec, size, pixels, told):
    with pytest.raises(ImageError, match=told):
        open_source("legacy", SurveyOptions(base=sky.viewer), client=client).cutout(ra, dec, size, pixels)
    assert not sky.asked


def test_nobody_there_is_the_row_s_error(client):
    source = open_source("legacy", SurveyOptions(base="http://127.0.0.1:9/viewer"), client=client)
    with pytest.raises(ImageError, match=r"127\.0\.0\.1:9: no image after 3 tries: the connection failed"):
        source.cutout(10.0, 2.0, 40, 64)


def test_secrets_of_an_address_are_not_shown(sky, client):
    source = open_source(sky.template + "&token=hush", client=client)
    told = source.cutout(150.1, 2.2, FRAME, 64).provenance
    assert "hush" not in told.address
    assert any("hush" in path for _, path in sky.asked)
    sky.faults[150.1] = Fault("403")
    with pytest.raises(ImageError) as error:
        source.cutout(150.1, 2.2, FRAME, 32)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("nowhere", "no such source"),
        ("https://my.server/cut", "has the gaps {ra} and {dec}"),
        ("https://my.server/cut?ra={ra}", "needs {ra} and {dec}"),
        ("https://my.server/cut?ra={ra}&dec={dec}&x={secret}", "{secret} is none of"),
        ("https://my.server/cut?ra={ra.__class__}&dec={dec}", "is none of"),
        ("https://my.server/cut?ra={ra}&dec={dec", "expected '}'"),
        ("ftp://my.server/{ra}{dec}", "cutout server"),
    ],
)
def test_what_is_no_source_is_refused(spec, told):
    with pytest.raises(SurveyError) as error:
        open_source(spec)
    assert told in str(error.value)


# ---------------------------------------------------------------- the cache


def test_what_is_in_the_cache_is_not_asked_again(sky, tmp_path):
    for _ in range(2):
        with Client(rate=1000, cache=Cache(tmp_path, 10**7)) as client:
            source = open_source("legacy", SurveyOptions(base=sky.viewer), client=client)
            first = source.cutout(150.1, 2.2, FRAME, 64)
            second = source.cutout(150.1, 2.2, FRAME, 64)
    assert sky.asked_of[150.1] == 1
    assert (first.rgb == second.rgb).all()
    assert first.provenance == second.provenance


def test_faults_are_not_kept(sky, tmp_path):
    with Client(rate=1000, tries=1, cache=Cache(tmp_path, 10**7)) as client:
        source = open_source("legacy", SurveyOptions(base=sky.viewer), client=client)
        for fault in ("page", "blank", "cut picture"):
            sky.faults[150.1] = Fault(fault, times=1)
            with pytest.raises(ImageError):
                source.cutout(150.1, 2.2, FRAME, 64)
        assert source.cutout(150.1, 2.2, FRAME, 64).rgb.shape == (64, 64, 3)


def test_a_damaged_answer_in_the_cache_is_fetched_anew(sky, tmp_path):
    with Client(rate=1000, cache=Cache(tmp_path, 10**7)) as client:
        source = open_source("legacy", SurveyOptions(base=sky.viewer), client=client)
        good = source.cutout(150.1, 2.2, FRAME, 64)
        (kept,) = (file for file in tmp_path.rglob("*") if file.is_file())
        kept.write_bytes(kept.read_bytes()[:300])
        assert (source.cutout(150.1, 2.2, FRAME, 64).rgb == good.rgb).all()
    assert sky.asked_of[150.1] == 2


def test_the_cache_holds_no_more_than_it_may(tmp_path):
    cache = Cache(tmp_path, 1000)
    for number in range(50):
        cache.put(f"https://survey/{number}", bytes(100))
        held = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
        assert held <= 1000
    assert cache.get("https://survey/49") is not None
    cache.put("https://survey/large", bytes(1001))
    assert cache.get("https://survey/large") is None
    # What is there already counts too.
    again = Cache(tmp_path, 300)
    again.put("https://survey/one more", bytes(100))
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 300


def test_no_request_is_read_off_the_cache_s_names(tmp_path):
    Cache(tmp_path, 1000).put("https://survey/?token=hush", b"x")
    assert not any("hush" in str(file) for file in tmp_path.rglob("*"))


def test_a_host_that_fails_in_a_row_is_down(sky, tmp_path):
    with Client(rate=1000, tries=1, max_failures=3) as client:
        down = open_source("legacy", SurveyOptions(base="http://127.0.0.1:9/viewer"), client=client)
        good = open_source("legacy", SurveyOptions(base=sky.viewer), client=client)
        for number in range(2):
            with pytest.raises(ImageError) as error:
                down.cutout(150.1 + number, 2.2, FRAME, 64)
            assert not isinstance(error.value, ServiceDown)
        good.cutout(150.1, 2.2, FRAME, 64)  # another host
        with pytest.raises(ServiceDown, match=r"127\.0\.0\.1:9: 3 requests in a row failed, the last: no image after"):
            down.cutout(150.1, 2.2, FRAME, 64)


@pytest.mark.slow
def test_a_run_stops_when_its_service_is_down_and_resumes(sky, tmp_path):
    catalogue = tmp_path / "many.csv"
    catalogue.write_text("id,ra,dec\n" + "".join(f"g{n},{150 + n / 1e4},2.2\n" for n in range(300)), "utf-8")
    targets, options = Targets(str(catalogue), Framing(size=FRAME)), SurveyOptions(base="http://127.0.0.1:9/viewer")
    with Client(rate=1000, tries=1, max_failures=5) as client:
        source = open_source("legacy", options, client=client)
        with pytest.raises(CutoutError, match=r"requests in a row failed.*the connection failed.*--resume"):
            download_cutouts(targets, source, tmp_path / "out", CutoutFormat(64))
    with Client(rate=1000) as client:
        source = open_source("legacy", SurveyOptions(base=sky.viewer), client=client)
        summary = download_cutouts(targets, source, tmp_path / "out", CutoutFormat(64), resume=True)
    assert (summary.rows, summary.failed) == (300, 0)

"""The site: built of what there is, every link leads somewhere, and nothing else is served."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

from uplift.config import Workspace
from uplift.errors import InputError
from uplift.pipelines.report import build_site, serve_site

# MLflow and SQLAlchemy warn their own developers on import and when a connection is collected
pytestmark = pytest.mark.filterwarnings("ignore")

LINK = re.compile(r"""(?:href|src)\s*=\s*["']([^"'#]+)""")


def dead_links(site: Path) -> list[str]:
    """Relative links of pages that lead to no file, and links that lead out."""
    dead = []
    for page in site.rglob("*.html"):
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc or not (page.parent / unquote(parts.path)).is_file():
                dead.append(f"{page.relative_to(site)} → {link}")
    return dead


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    """Two members, and nothing that they ever did."""
    (tmp_path / "data").mkdir()
    (tmp_path / "uplift.yaml").write_text("data: data/\n")
    table = pd.DataFrame({"member_id": ["secret-1", "secret-2"], "registered_at": "2026-01-01T00:00:00Z"})
    table.to_csv(tmp_path / "data" / "members.csv", index=False)
    return Workspace.open(tmp_path)


def test_an_empty_workspace_has_a_site_too(empty: Workspace, call: Callable[..., Any]) -> None:
    said = call("--json", "-C", empty.root, "report", "build").json
    assert (said["experiments"], said["decisions"], said["models"]) == (0, None, 0)
    assert Path(said["index"]).is_file()
    assert dead_links(empty.reports) == []
    pages = list(empty.reports.rglob("*.html"))
    assert {"index.html", "index.zh.html", "index.en.html"} <= {page.name for page in pages}
    assert not [page for page in pages if "secret" in page.read_text(encoding="utf-8")]


def test_a_result_that_is_no_json_is_named(empty: Workspace) -> None:
    broken = empty.reports / "experiments" / "spring" / "result.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    with pytest.raises(InputError, match=r"spring/result\.json: not JSON .*analyze the experiment again"):
        build_site(empty)


@pytest.mark.slow
def test_every_link_of_a_full_site_leads_to_a_file(demonstrated: Any) -> None:
    site = demonstrated.folder / "reports"
    links = [link for page in site.rglob("*.html") for link in LINK.findall(page.read_text(encoding="utf-8"))]
    assert len(links) > 5, "there is something to follow"
    assert dead_links(site) == []


@pytest.mark.slow
def test_a_full_site_shows_decisions_segments_experiments_and_models(demonstrated: Any) -> None:
    site = demonstrated.folder / "reports"
    manifest = json.loads((Path(demonstrated.demo.decisions) / "manifest.json").read_text(encoding="utf-8"))
    models = {"zh": ("流失预警", "活动增量"), "en": ("Churn warning", "Campaign uplift")}
    for language in ("zh", "en"):
        page = (site / f"index.{language}.html").read_text(encoding="utf-8")
        for path in (demonstrated.folder / "experiments").glob("*.yaml"):
            assert path.stem in page
        for model in models[language]:
            assert model in page
        given = [o for o in manifest["offers"] if manifest["totals"]["by_offer"].get(o["offer_id"], 0) >= 11]
        assert manifest["as_of"][:10] in page
        assert all(offer[f"name_{language}"] in page for offer in given)


@pytest.mark.slow
def test_no_member_is_named_on_any_page(demonstrated: Any) -> None:
    ids = pd.read_parquet(demonstrated.folder / "data" / "members.parquet", columns=["member_id"])["member_id"]
    for page in (demonstrated.folder / "reports").rglob("*"):
        if page.is_file():
            text = page.read_text(encoding="utf-8")
            assert not [member for member in ids if member in text], page.name


@pytest.fixture
def server(empty: Workspace) -> Iterator[ThreadingHTTPServer]:
    empty.reports.mkdir()
    (empty.reports / "index.html").write_text("<p>the site</p>")
    (empty.reports / "experiments").mkdir()
    (empty.reports / "experiments" / "page.html").write_text("<p>deeper</p>")
    served = serve_site(empty, "127.0.0.1", 0)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def fetch(server: ThreadingHTTPServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_site_is_served(server: ThreadingHTTPServer, capfd: pytest.CaptureFixture[str]) -> None:
    assert fetch(server, "/") == (200, "<p>the site</p>")
    assert fetch(server, "/experiments/page.html") == (200, "<p>deeper</p>")
    assert fetch(server, "/absent.html")[0] == 404
    assert capfd.readouterr().err == "", "who read what is nobody's business"


@pytest.mark.parametrize(
    "path",
    [
        "/experiments/",
        "/../uplift.yaml",
        "/../data/members.csv",
        "/%2e%2e/data/members.csv",
        "/..%2fdata%2fmembers.csv",
        "/experiments/../../data/members.csv",
        "//etc/passwd",
        "/..\\data\\members.csv",
    ],
)
def test_no_folder_is_listed_and_nothing_outside_is_served(server: ThreadingHTTPServer, path: str) -> None:
    status, text = fetch(server, path)
    assert status == 404
    assert "secret" not in text
    assert "page.html" not in text


def test_nothing_to_serve_and_no_port_to_serve_at(
    empty: Workspace, server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*--port"):
        serve_site(empty, "127.0.0.1", server.server_address[1])
    (empty.reports / "index.html").unlink()
    with pytest.raises(InputError, match="no site yet; `uplift report build` makes it"):
        serve_site(empty, "127.0.0.1", 0)

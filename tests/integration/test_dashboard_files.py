"""The dashboard over HTTP: caching, compression, the policy, and that it needs no token."""

from __future__ import annotations

from ingest.dashboard.assets import load_dashboard


async def test_the_page_is_checked_each_time_and_its_files_are_kept_for_ever(web_client):
    dashboard = load_dashboard()
    page = await web_client.get("/experiments/1")
    assert page.status == 200
    assert page.content_type == "text/html"
    assert page.headers["Cache-Control"] == "no-cache"
    assert page.headers["Content-Security-Policy"] == dashboard.policy

    again = await web_client.get("/", headers={"If-None-Match": page.headers["ETag"]})
    assert again.status == 304

    script = await web_client.get(f"/static/{dashboard.digest}/js/main.js")
    assert script.content_type == "text/javascript"
    assert "immutable" in script.headers["Cache-Control"]
    assert script.headers["Content-Encoding"] == "gzip"
    assert await script.read() == dashboard.assets["js/main.js"].body


async def test_a_file_of_another_release_is_not_passed_off_as_this_ones(web_client):
    answer = await web_client.get("/static/0123456789abcdef/js/main.js")
    assert answer.status == 404
    assert (await answer.json())["hint"] == "reload the page"


async def test_what_is_no_file_of_the_dashboard_is_not_served(web_client):
    digest = load_dashboard().digest
    for path in ("assets.py", "vendor/vendor.json", "../assets.py", "js/%2e%2e/assets.py"):
        assert (await web_client.get(f"/static/{digest}/{path}")).status == 404

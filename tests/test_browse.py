"""The page: what it shows is what the model says, and nothing that is asked or shown breaks it."""

import html
import io
import os
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
from browsing import (
    DATASET,
    IMAGES,
    ITEM_IDS,
    SCRIPT,
    SOUNDS,
    STUDIED,
    TEXTS,
    USER_IDS,
    picture,
    write_shop,
)  # fmt: skip
from chromium import PROGRAM, Chromium
from flask.testing import FlaskClient
from small import USERS
from tiny_encoders import TINY, Tint, Words

from pipeline import browse
from pipeline.browsing import guarding, landing, media, server
from pipeline.browsing.media import Media
from pipeline.browsing.models import TRAINED, Models
from pipeline.browsing.server import create_app, serving
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.params import load
from pipeline.recommending import NewItem, new_items

KNOWN = USER_IDS[0]


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small shop, as current folder."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        tests = Path(__file__).parent
        patch.setenv("PYTHONPATH", f"{tests.parent}{os.pathsep}{tests}")
        patch.setattr(new_items, "encoder_class", TINY.__getitem__)
        write_shop()
        yield folder


@pytest.fixture(scope="module")
def models(here: Path) -> Models:
    return Models(load())


@pytest.fixture(scope="module")
def held(models: Models) -> Iterator[Media]:
    with Media(DATASET, models.workspace.item_ids) as found:
        yield found


@pytest.fixture(scope="module")
def client(models: Models, held: Media) -> FlaskClient:
    return create_app(models, held).test_client()


@pytest.fixture(scope="module")
def url(models: Models, held: Media) -> Iterator[str]:
    """Of a real server."""
    real = serving(models, held, 0)
    thread = threading.Thread(target=real.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{real.effective_port}"
    real.close()


def shelves(page: str) -> dict[str, list[tuple[str, bool]]]:
    """Heading of a list → the items that it links to in their order, and which are marked."""
    found = {}
    for section in re.findall(r'<section class="(?:shelf|history)">(.*?)</section>', page, re.S):
        name = re.sub(r"<.*?>.*", "", re.search(r"<h\d>(.*?)</h\d>", section, re.S)[1]).strip()
        rows = re.findall(r"<li>(.*?)</li>", section, re.S)
        items = []
        for row in rows:
            link = re.search(r'<p class="name">\s*<a href="(.*?)"', row)
            wanted = parse_qs(urlsplit(html.unescape(link[1])).query)["item"][0] if link else "new"
            items.append((wanted, "liked in test" in row))
        found[name] = items
    return found


def get(client: FlaskClient, path: str, **query: str) -> str:
    answer = client.get(path, query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_lists_of_a_user_are_the_models_own(client: FlaskClient, models: Models) -> None:
    assert set(models.labels) == {TRAINED, *STUDIED}
    marked = 0
    for user in USER_IDS[:6]:
        for left, right in ((TRAINED, "ease"), ("none", "frozen")):
            page = get(client, "/", user=user, left=left, right=right, k="7")
            lists = [v for name, v in shelves(page).items() if "liked" not in name]
            test = set(models[left].history(user, "test"))
            for key, listed in zip((left, right), lists, strict=True):
                expected = [one.item_id for one in models[key].recommend(user, 7)]
                assert [item for item, _ in listed] == expected
                assert {item for item, liked in listed if liked} == test & {*expected}
                marked += len(test & {*expected})
        known = [item for item, _ in shelves(page)["What they liked"]]
        assert known == models[TRAINED].history(user)
    assert marked  # or this shows nothing


def test_why_tells_what_the_model_tells(client: FlaskClient, models: Models) -> None:
    for key, parts in ((TRAINED, {"collaboration", "text", "image"}), ("ease", set())):
        item = models[key].recommend(KNOWN, 1)[0].item_id
        told = models[key].why(KNOWN, item)
        assert set(told.parts) == parts
        for bare in ({}, {"bare": "1"}):
            page = get(client, "/why", user=KNOWN, item=item, system=key, **bare)
            for value in (*told.parts.values(), told.item.score, *(o.score for o in told.liked)):
                assert f"{value:.3f}" in page
            assert ("<nav" in page) == (not bare)
        assert sum(told.parts.values()) == pytest.approx(told.item.score, abs=1e-4) or not parts


def test_an_item_shows_what_it_holds_and_its_neighbours(
    client: FlaskClient, models: Models
) -> None:
    row, r = 9, models[TRAINED]
    page = get(client, "/item", item=ITEM_IDS[row], left=TRAINED, right="none")
    lists = list(shelves(page).values())
    asked = [(r, "model"), (models["none"], "model"), (r, "collaboration"), (r, "content"),
             (r, "text"), (r, "image")]  # fmt: skip
    for (recommender, by), listed in zip(asked, lists, strict=True):
        expected = [one.item_id for one in recommender.similar(ITEM_IDS[row], 8, by)]
        assert [item for item, _ in listed] == expected, by
    assert TEXTS[row] in page and "<audio controls" in page and 'class="whole"' in page
    counts = [int((s.items == row).sum()) for s in models.workspace.splits.values()]
    assert re.findall(r"([\d,]+) in \w+[,<]", page) == list(map(str, counts))


def test_items_are_found_by_words_and_ids(client: FlaskClient) -> None:
    def found(words: str) -> set[str]:
        page = get(client, "/find", words=words)
        links = re.findall(r'<p class="name">\s*<a href="(.*?)"', page)
        return {parse_qs(urlsplit(html.unescape(link)).query)["item"][0] for link in links}

    assert found("title 12") == {ITEM_IDS[12]}
    assert found("12 TITLE") == {ITEM_IDS[12]}
    assert found("i27") == {ITEM_IDS[27]}
    assert found("passwd") == {ITEM_IDS[0]}
    assert found("book 6 of") == {ITEM_IDS[6]}  # which has no title but a text
    assert found("nothing like it") == set()
    assert len(found("")) == len(ITEM_IDS)


def test_users_are_found_by_a_part_of_their_id(client: FlaskClient) -> None:
    assert client.get("/users?part=U1").json == {"users": [u for u in USER_IDS if "u1" in u]}
    answer = client.get("/?user=1")
    assert answer.status_code == 404
    assert all(f">{u}</a>" in answer.text for u in USER_IDS if "1" in u and u != SCRIPT)


def send(client: FlaskClient, **form: object) -> tuple[int, str]:
    answer = client.post("/new", data=form)
    return answer.status_code, answer.text


def rank_by_hand(models: Models, key: str, made: NewItem, user: str) -> tuple[int, int]:
    """Where an item stands among what may be recommended, by the scores of all alone."""
    r = models[key].with_items([made])
    ids = [r.items[n] for n in range(len(r.items))]
    hidden = set(r.history(user))
    left = [i for i in ids if i not in hidden]
    scores = dict(zip(left, r.score(user, left), strict=True))
    return sum(v > scores[made.item_id] for v in scores.values()) + 1, len(left)


def test_a_new_text_lands_where_the_model_ranks_it(client: FlaskClient, models: Models) -> None:
    code, page = send(client, modality="text", text=TEXTS[14], user=KNOWN, left=TRAINED,
                      right="none")  # fmt: skip
    assert code == 200
    lists = shelves(page)
    assert lists["Alike in text"][0][0] == ITEM_IDS[14]
    made = NewItem("a new item", {"text": TEXTS[14]})
    near = models[TRAINED].with_items([made]).similar("a new item", 8)
    assert [i for i, _ in lists["Neighbours by frozen, 2 layers, seed 19"]] == [
        o.item_id for o in near
    ]
    rank, among = rank_by_hand(models, TRAINED, made, KNOWN)
    assert re.search(rf"Rank <strong>{rank}</strong> of {among},", page)
    assert "none cannot take new items" in page and "frozen" in page


def test_many_new_items_are_encoded_in_parts(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_items, "BATCH", 2)
    files = [tmp_path / f"{n}.png" for n in range(5)]
    for n, file in enumerate(files):
        file.write_bytes(picture(n))
    items = [NewItem(f"n{n}", {"text": TEXTS[n], "image": file}) for n, file in enumerate(files)]
    text, image = models.any.encoders.encode(items)
    assert np.array_equal(text.vectors, np.stack([Words.prepare(t) for t in TEXTS[:5]]))
    assert np.array_equal(image.vectors, np.stack([Tint.prepare(file) for file in files]))
    files[3].write_text("no picture")
    with pytest.raises(InputError, match="item 'n3': image: not an image of a known format"):
        models.any.encoders.encode(items)


def test_a_new_picture_lands_beside_its_equal_and_is_kept_nowhere(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for body, code in ((picture(20), 200), (b"no picture", 400), (b"", 400)):
        told, page = send(client, modality="image", file=(io.BytesIO(body), "../../x.png"),
                          user=KNOWN)  # fmt: skip
        assert told == code, page
        if code == 200:
            assert shelves(page)["Alike in image"][0][0] == ITEM_IDS[20]
        else:
            assert "not an image of a known format" in page and str(tmp_path) not in page
        # The processes that decode have a folder of their own.
        assert all(path.name.startswith("pymp-") for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"modality": "text", "text": " \n"}, "the text is empty"),
        ({"modality": "text", "text": "x" * 10_001}, "10,001 characters"),
        ({"modality": "image"}, "no file was sent"),
        ({"modality": "audio", "text": "x"}, "valid: text, image"),
        ({"modality": SCRIPT}, "valid: text, image"),
        ({"modality": "text", "text": "x", "user": "nobody"}, "there is no user"),
        ({"modality": "text", "text": "x", "left": "zz"}, "valid: trained, none, frozen, ease"),
        ({}, "valid: text, image"),
    ],
)
def test_what_is_wrong_with_a_new_item_is_said(
    client: FlaskClient, form: dict[str, str], said: str
) -> None:
    code, page = send(client, **form)
    assert code == 400 and said in page and SCRIPT not in page


@pytest.mark.parametrize("k", ["0", "101", "-1", "x", "1.5", "99999999999", "²"])
def test_a_length_that_is_none_is_refused(client: FlaskClient, k: str) -> None:
    answer = client.get("/", query_string={"k": k})
    assert answer.status_code == 400 and "from 1 to 100" in answer.text


def test_a_second_encoding_is_refused_while_one_runs(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "PATIENCE", 0.01)
    with landing._encoding:
        code, page = send(client, modality="text", text="x")
    assert code == 503 and "try again" in page
    assert send(client, modality="text", text="x")[0] == 200


def test_nothing_that_a_catalogue_or_an_address_says_is_markup(client: FlaskClient) -> None:
    asked = [("/", {"user": SCRIPT}), ("/item", {"item": SCRIPT}), ("/find", {"words": SCRIPT}),
             ("/find", {}), ("/why", {"user": SCRIPT, "item": SCRIPT}), ("/new", {"user": SCRIPT}),
             ("/why", {"user": SCRIPT, "item": SCRIPT, "bare": "1"})]  # fmt: skip
    refused = [("/", {"user": "x" + SCRIPT}), ("/", {"left": SCRIPT}), ("/", {"k": SCRIPT}),
               ("/item", {"item": "x" + SCRIPT}), ("/picture", {"item": "x" + SCRIPT}),
               ("/media", {"item": ITEM_IDS[8], "modality": SCRIPT}),
               ("/why", {"user": "x" + SCRIPT, "item": SCRIPT})]  # fmt: skip
    for path, query in (*asked, *refused):
        answer = client.get(path, query_string=query)
        assert (answer.status_code == 200) == ((path, query) in asked), (path, query)
        tags = re.findall(r"<script[^>]*>", answer.text)
        assert all('src="/static/browse.js"' in tag for tag in tags)
        assert len(tags) == ("<nav" in answer.text)
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert html.escape(SCRIPT).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in get(
        client, "/item", item=SCRIPT
    )


def test_files_are_handed_out_whole_and_in_parts(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (DATASET / SOUNDS[8]).read_bytes()
    address = f"/media?item={ITEM_IDS[8]}&modality=audio"
    whole = client.get(address)
    assert whole.data == body and whole.content_type == "audio/wav"
    part = client.get(address, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.data == body[10:20]
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(body)}"
    monkeypatch.setattr(guarding, "PIECE", 100)  # who asks for the rest gets a piece of it
    assert client.get(address, headers={"Range": "bytes=50-"}).data == body[50:150]
    assert client.get(address, headers={"Range": "bytes=99999999-"}).status_code == 416
    image = client.get(f"/media?item={ITEM_IDS[8]}&modality=image")
    assert image.data == picture(8) and image.content_type == "image/png"
    small = client.get(f"/picture?item={ITEM_IDS[8]}")
    assert small.content_type == "image/jpeg" and small.data[:2] == b"\xff\xd8"


def test_what_is_no_media_is_saved_and_not_opened(client: FlaskClient) -> None:
    for n, modality in ((4, "image"), (5, "audio")):  # an SVG, a page
        answer = client.get(f"/media?item={ITEM_IDS[n]}&modality={modality}")
        assert answer.status_code == 200
        assert answer.content_type == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")


def test_no_address_leads_out_of_the_dataset(client: FlaskClient, here: Path) -> None:
    assert (DATASET / IMAGES[3]).is_file()  # a manifest that names a file outside
    tried = ["/media?item=i03&modality=image", "/picture?item=i03",
             "/media?item=/etc/passwd&modality=image", "/media?item=../../x&modality=image",
             "/media?item=i08&modality=../../../etc/passwd", "/media?item=i08&modality=text",
             "/media?item=i08", "/media", "/picture", "/picture?item=i07", "/item?item=../x",
             "/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd",
             "/static/..%2fserver.py", "/%2e%2e/%2e%2e/etc/passwd", "/media/../../etc/passwd",
             f"/media?item={quote(str(here / 'params.yaml'))}&modality=image"]  # fmt: skip
    for address in tried:
        answer = client.get(address, follow_redirects=True)
        assert answer.status_code == 404, address
        assert "root:" not in answer.text and "import" not in answer.text
    gone = DATASET / SOUNDS[11]
    body = gone.read_bytes()
    gone.unlink()
    try:
        os.mkfifo(gone)  # which would be waited for
        assert client.get(f"/media?item={ITEM_IDS[11]}&modality=audio").status_code == 404
    finally:
        gone.unlink()
        gone.write_bytes(body)


@pytest.mark.parametrize(
    ("headers", "reads", "writes"),
    [
        ({}, 200, 200),
        ({"Host": "localhost:8000"}, 200, 200),
        ({"Host": "127.0.0.1"}, 200, 200),
        ({"Host": "evil.example"}, 400, 400),
        ({"Host": "127.0.0.1.evil.example"}, 400, 400),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200, 200),
        ({"Origin": "http://evil.example"}, 403, 403),
        ({"Origin": "null"}, 403, 403),
        ({"Host": "localhost:8000", "Origin": "http://localhost:9000"}, 403, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200, 403),
    ],
)
def test_only_this_machine_and_no_other_page_asks(
    client: FlaskClient, headers: dict[str, str], reads: int, writes: int
) -> None:
    assert client.get("/", headers=headers).status_code == reads
    form = {"modality": "text", "text": "x"}
    assert client.post("/new", data=form, headers=headers).status_code == writes


def test_a_large_upload_is_refused(
    client: FlaskClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(client.application.config, "MAX_CONTENT_LENGTH", 10_000)
        code, page = send(client, modality="image", file=(io.BytesIO(bytes(20_000)), "x.png"))
        assert code == 413 and "64 MB" in page
    long = client.post("/new", data={"modality": "text", "text": "x" * (2 << 20)})
    assert long.status_code == 413
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port)) as sent:
        head = f"POST /new HTTP/1.1\r\nHost: localhost\r\nContent-Length: {100 << 20}\r\n\r\n"
        sent.sendall(head.encode())
        assert sent.recv(1000).startswith(b"HTTP/1.1 413")
    with socket.create_connection((where.hostname, where.port)) as sent:  # of no stated length
        sent.sendall(b"POST /new HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        with pytest.raises(OSError):
            for _ in range(100):
                sent.sendall(piece)
            if sent.recv(1000).startswith(b"HTTP/1.1 413"):
                raise OSError
    assert fetched(f"{url}/")[0] == 200


def fetched(address: str, data: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_hundred_requests_at_once_are_answered_or_refused(url: str) -> None:
    addresses = [
        f"{url}/?user=u{n % USERS:02}&left={key}" for n, key in enumerate((TRAINED, *STUDIED) * 10)
    ]
    addresses += [f"{url}/picture?item=i{n:02}" for n in range(8, 28)]
    addresses += [f"{url}/media?item=i{8 + n % 4:02}&modality=audio" for n in range(20)]
    posts = [(f"{url}/new", b"modality=text&text=red+things&user=u00")] * 20
    with ThreadPoolExecutor(100) as threads:
        read = list(threads.map(fetched, addresses))
        wrote = list(threads.map(lambda post: fetched(*post), posts))
    hostile = {n for n, a in enumerate(addresses) if "user=u02" in a}  # an id that is not so named
    assert {code for n, (code, _) in enumerate(read) if n not in hostile} == {200}
    assert {read[n][0] for n in hostile} == {404}
    assert {code for code, _ in wrote} <= {200, 503} and wrote[0][0] == 200
    by_user = {a: body for a, (_, body) in zip(addresses, read, strict=True)}
    first = addresses[0]
    same = shelves(fetched(first)[1].decode())
    assert shelves(by_user[first].decode()) == same


def test_pictures_are_kept_in_bounds(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "PICTURES", 3)
    with Media(DATASET, models.workspace.item_ids) as found:
        made = [found.picture(n) for n in (8, 9, 10, 11, 8)]
        assert all(made) and made[0] == made[-1]
        assert list(found._pictures) == [10, 11, 8]
        assert found.picture(7) is None  # broken
        assert found.picture(3) is None  # outside


def test_without_a_trained_model_the_study_is_asked(here: Path) -> None:
    moved = paths.MODEL.rename("elsewhere")
    try:
        models = Models(load())
        assert list(models.labels) == list(STUDIED)
        with pytest.raises(InputError, match="valid: none, frozen, ease"):
            models[TRAINED]
        Path(".cache/cells").rename("cells")
        try:
            with pytest.raises(InputError, match="no trained model yet, .*run `dvc repro train`"):
                Models(load())
        finally:
            Path("cells").rename(".cache/cells")
    finally:
        moved.rename(paths.MODEL)


def test_the_form_counts_and_not_the_address_that_it_was_filled_in_at(
    client: FlaskClient,
) -> None:
    form = {"modality": "text", "text": "x", "user": USER_IDS[5], "left": "frozen", "right": ""}
    answer = client.post("/new?user=u00&left=none&right=ease", data=form)
    assert f"for user {USER_IDS[5]}" in answer.text and "cannot take" not in answer.text


def test_the_command_says_where_the_page_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    ran: list[str] = []

    def fake(*asked: object) -> SimpleNamespace:
        real = serving(*asked)
        real.close()
        return SimpleNamespace(effective_port=real.effective_port, run=lambda: ran.append("ran"))

    monkeypatch.setattr(server, "serving", fake)
    monkeypatch.setattr(browse.webbrowser, "open", opened.append)
    monkeypatch.setattr("sys.argv", ["browse", "--port", "0"])
    browse.main()
    monkeypatch.setattr("sys.argv", ["browse", "--port", "0", "--open"])
    browse.main()
    said = re.findall(r"http://127\.0\.0\.1:\d+/", capsys.readouterr().out)
    assert ran == ["ran", "ran"] and len(said) == 2 and opened == said[1:]


def test_a_port_that_is_taken_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = str(urlsplit(url).port)
    monkeypatch.setattr("sys.argv", ["browse", "--port", port])
    with pytest.raises(InputError, match=rf"--port {port}: is taken; name another"):
        browse.main()


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")
def test_the_page_in_a_browser(url: str, models: Models) -> None:
    """By keyboard where a person would: pick, compare, why, item, new text; then every page."""
    with Chromium() as page:
        page.go(url)
        page.press("Tab")
        assert page["document.activeElement.className"] == "skip"
        # Pick a user: what is typed finds ids.
        page["document.getElementById('user').select(), 0"]
        page.type("u1")
        wanted = [u for u in USER_IDS if "u1" in u]
        page.wait("document.getElementById('found-users').options.length")
        assert page["[...document.getElementById('found-users').options].map(o => o.value)"] == (
            wanted
        )
        page["document.getElementById('user').select(), 0"]
        page.type("u13")
        # Compare.
        page["document.getElementById('right').value = 'ease', window.old = 1"]
        page.press("Enter")
        page.loaded()
        assert page[
            "[...document.querySelectorAll('.lists > div')]"
            ".map(list => [...list.querySelectorAll('.name a')].map(a => a.textContent))"
        ] == [[one.title for one in models[key].recommend("u13", 10)] for key in (TRAINED, "ease")]
        # Why.
        page["document.querySelector('details.why summary').focus()"]
        page.press("Enter")
        page.wait("!!document.querySelector('details.why table.bars')")
        told = models[TRAINED].why("u13", models[TRAINED].recommend("u13", 1)[0].item_id)
        assert page[
            "[...document.querySelectorAll('details.why .bars .number')].map(n => n.textContent)"
        ] == [f"{value:.3f}" for value in told.parts.values()]
        assert page["document.querySelector('rect.more').getBoundingClientRect().width"] > 1
        # A new text.
        page["window.old = 1, document.querySelector('nav li:last-child a').click()"]
        page.loaded()
        assert page["document.getElementById('file').closest('p').hidden"]
        page[
            "(() => { const sent = new DataTransfer(), kind = document.getElementById('modality');"
            "kind.value = 'image'; kind.dispatchEvent(new Event('change')); "
            "sent.items.add(new File([new Uint8Array(65 << 20)], 'huge.png')); "
            "document.getElementById('file').files = sent.files; "
            "document.querySelector('#new button').click(); "
            "kind.value = 'text'; kind.dispatchEvent(new Event('change')); })()"
        ]
        said = page["document.getElementById('doing').textContent"]
        assert said == "huge.png is too large: a file may have 64 MB."
        page["document.getElementById('file').value = '', document.getElementById('text').focus()"]
        page.type(TEXTS[14])
        page["window.old = 1, document.querySelector('#new button').click()"]
        page.loaded()
        assert page["document.activeElement.id"] == "landed"
        made = NewItem("a new item", {"text": TEXTS[14]})
        rank, _ = rank_by_hand(models, TRAINED, made, "u13")
        assert page["document.querySelector('.reason strong').textContent"] == str(rank)
        # Every page, narrow: nothing sticks out, every field has a label, every picture a text.
        page("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1,
             mobile=True)  # fmt: skip
        script = quote(SCRIPT)
        for address in (f"/?user={script}&right=ease", f"/item?item={script}", "/find?words=title",
                        f"/item?item={ITEM_IDS[8]}", f"/why?user=u13&item={script}", "/new",
                        f"/?user={script}&left=ease&k=30"):  # fmt: skip
            page.go(url + address)
            assert page["document.documentElement.scrollWidth"] <= 400, address
            assert page["document.title.endsWith('· Recommender')"], address
            assert not page[
                "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
                ".filter(f => !f.labels.length).length"
            ]
            assert not page["document.querySelectorAll('img:not([alt])').length"]
            assert page["document.querySelectorAll('h1').length"] == 1
        page.go(f"{url}/item?item={ITEM_IDS[8]}")
        assert page["(async () => { const a = document.querySelector('audio'); a.load(); await new "
                    "Promise(r => { a.preload = 'auto'; a.onloadedmetadata = r; }); "
                    "return a.duration; })()"] == 1  # fmt: skip
        # Pictures of files that are broken or outside are not there; nothing else is wrong.
        assert {c for c in page.complaints if "404" not in c} == set()

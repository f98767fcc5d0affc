"""The statement as a reader of XMP finds it."""

from xml.etree import ElementTree

import pytest

from protect.config.choices import Rights
from protect.output.rights import xmp_packet

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
PROPERTY = "{http://ns.useplus.org/ldf/xmp/1.0/}DataMining"
TERMS = {
    "noai": "DMI-PROHIBITED-AIMLTRAINING",
    "search-only": "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
    "nomining": "DMI-PROHIBITED",
}


@pytest.mark.parametrize("rights", Rights)
def test_the_packet_holds_the_one_property_with_its_term(rights: Rights) -> None:
    packet = xmp_packet(rights)
    assert packet.startswith('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert packet.endswith('<?xpacket end="r"?>')
    root = ElementTree.fromstring(packet)
    assert root.tag == "{adobe:ns:meta/}xmpmeta"
    (described,) = root.findall(f"{RDF}RDF/{RDF}Description")
    assert described.attrib == {f"{RDF}about": ""}
    (stated,) = described
    assert stated.tag == PROPERTY
    assert stated.text == f"http://ns.useplus.org/ldf/vocab/{TERMS[rights]}"

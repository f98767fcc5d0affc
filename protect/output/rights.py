"""The owner's statement on data mining, as the XMP packet that goes into a published picture.

The property is `plus:DataMining` of the PLUS Coalition, which the IPTC Photo Metadata Standard has
adopted since 2023.1. Must not import torch.
"""

from protect.config.choices import Rights

PNG_KEYWORD = "XML:com.adobe.xmp"
"""The iTXt chunk in which PNG files carry XMP."""

_VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
_TERMS = {
    Rights.NOAI: "DMI-PROHIBITED-AIMLTRAINING",
    Rights.SEARCH_ONLY: "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
    Rights.NOMINING: "DMI-PROHIBITED",
}


def xmp_packet(rights: Rights) -> str:
    """Write the statement as an XMP packet that holds nothing else.

    It is marked read-only, as it lies in a file with checksums.
    """
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/">'
        f"<plus:DataMining>{_VOCABULARY}{_TERMS[rights]}</plus:DataMining>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    )

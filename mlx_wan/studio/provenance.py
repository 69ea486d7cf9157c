"""What a finished file says about itself: that it is AI-generated, in words and for machines."""

# IPTC's term for media made by a trained model, the same C2PA uses
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def ai_metadata(title: str, model: str, seed: int) -> dict[str, str]:
    """Tags for the container, on every video we write."""
    return {
        "title": title[:200],
        "comment": f"AI-generated with mlx-wan, {model}, seed {seed}",
        "ai_generated": "true",
        "digitalSourceType": DIGITAL_SOURCE_TYPE,
    }

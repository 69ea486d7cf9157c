"""From frames to finished files: encoding, and later formats, text and brand."""

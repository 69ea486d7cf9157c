"""Pictures of what wan-mini makes: a labelled contact sheet, an animation, frames of videos.

python -m mlx_wan.bench.mini.sheet                              contact-sheet.jpg beside the weights
python -m mlx_wan.bench.mini.sheet --video FILE.mp4 --out FILE.webp
python -m mlx_wan.bench.mini.sheet --frames-of A.mp4 --frames-of B.mp4 --out FILE.jpg
"""

import argparse
from pathlib import Path

import numpy as np

from mlx_wan.loading import embedded_model, open_model
from mlx_wan.request import Request

from .clips import Clip
from .sample import sample

PROMPTS = (
    "slow blue aurora over a dark background",
    "golden particles rising on black",
    "soft pink bokeh lights on a cream background",
    "teal waves flowing to the right, navy background",
    "purple rings expanding on a dark background",
    "white light beam moving left, dark blue background",
    "smooth gradient of orange and pink",
    "three green orbs moving up on light grey",
    "AI Workforce Transformation 2026",
    "Quarterly Business Review",
    "Leadership Summit 2027",
    "cyber security",
    "sustainability report",
    "stock market news",
    "customer success story",
    "calm and peaceful",
    "energetic workout",
    "elegant luxury",
    "mysterious night",
    "joyful celebration",
    "spring morning",
    "a day at the beach in summer",
    "autumn leaves",
    "winter night, falling snow",
    "underwater world",
    "city lights at night",
    "galaxy",
    "a cat walking in the park",
)
FRAMES = (0, 5, 10)
SIZE = (80, 48)  # as rendered
CELL = (160, 96)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=embedded_model())
    parser.add_argument("--out", type=Path, default=embedded_model() / "contact-sheet.jpg")
    parser.add_argument("--prompts", type=Path, help="text file, a prompt a line; default: ours")
    parser.add_argument("--video", type=Path, help="make an animation of this video instead")
    parser.add_argument("--frames-of", type=Path, action="append", help="videos to take four from")
    args = parser.parse_args()
    if args.frames_of:
        frames_of(args.frames_of, args.out)
    elif args.video:
        animation(args.video, args.out)
    else:
        prompts = args.prompts.read_text().splitlines() if args.prompts else PROMPTS
        folder = open_model(args.model)
        width, height = SIZE
        requests = [
            Request(prompt, model="wan-mini", width=width, height=height, seed=7)
            for prompt in prompts
        ]
        contact_sheet([sample(folder, request) for request in requests], prompts, args.out)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


def contact_sheet(clips: list[Clip], labels: list[str] | tuple[str, ...], out: Path) -> None:
    """Three frames of each clip side by side, with its prompt below; four clips in a row."""
    from PIL import Image, ImageDraw

    (width, height), columns, label, gap = CELL, 4, 18, 8
    across, down = len(FRAMES) * width + gap, height + label + gap
    rows = -(-len(clips) // columns)
    sheet = Image.new("RGB", (columns * across - gap, rows * down - gap), (24, 24, 28))
    draw = ImageDraw.Draw(sheet)
    for i, (clip, text) in enumerate(zip(clips, labels, strict=True)):
        x, y = i % columns * across, i // columns * down
        for place, frame in enumerate(FRAMES):
            picture = Image.fromarray(clip[frame]).resize(CELL, Image.Resampling.BICUBIC)
            sheet.paste(picture, (x + place * width, y))
        draw.text((x + 4, y + height + 2), text[:72], fill=(230, 230, 235))
    sheet.save(out, quality=85)


def animation(video: Path, out: Path, width: int = 480, fps: int = 12, seconds: int = 6) -> None:
    """The beginning of a video as a small animated WebP that loops."""
    import av
    from PIL import Image

    with av.open(str(video)) as container:
        rate = float(container.streams.video[0].average_rate or 24)
        every, pictures = max(1, round(rate / fps)), []
        for i, frame in enumerate(container.decode(video=0)):
            if i >= seconds * rate:
                break
            if i % every == 0:
                height = round(frame.height * width / frame.width / 2) * 2
                picture = Image.fromarray(np.asarray(frame.to_ndarray(format="rgb24")))
                pictures.append(picture.resize((width, height), Image.Resampling.LANCZOS))
    duration = round(1000 * every / rate)
    pictures[0].save(
        out, save_all=True, append_images=pictures[1:], duration=duration, loop=0, quality=80
    )


def frames_of(videos: list[Path], out: Path, count: int = 4, height: int = 270) -> None:
    """`count` frames of each video, evenly spread, in lines of at most four wide ones."""
    import av
    from PIL import Image

    gap, line = 8, 4 * (height * 16 // 9 + 8)
    placed: list[tuple[Image.Image, int, int]] = []
    x = y = 0
    for video in videos:
        with av.open(str(video)) as container:
            total = container.streams.video[0].frames
            wanted = {round((i + 0.5) * total / count) for i in range(count)}
            for i, frame in enumerate(container.decode(video=0)):
                if i in wanted:
                    width = round(frame.width * height / frame.height)
                    if x + width > line:
                        x, y = 0, y + height + gap
                    shown = frame.to_image().resize((width, height), Image.Resampling.LANCZOS)
                    placed.append((shown, x, y))
                    x += width + gap
    right = max(x + picture.width for picture, x, _ in placed)
    sheet = Image.new("RGB", (right, y + height), (24, 24, 28))
    for picture, x, y in placed:
        sheet.paste(picture, (x, y))
    sheet.save(out, quality=85)


if __name__ == "__main__":
    main()

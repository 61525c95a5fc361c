"""What is asked of every engine, by name."""

from serving import prompt

ASKED = {
    "video 0": prompt(videos=[0]),
    "video 1": prompt(videos=[1]),
    "video 2": prompt(videos=[2], scenes=3),
    "video 3": prompt(videos=[3]),
    "video 0, another question": prompt("How many scenes are there?", videos=[0]),
    "video 0, a long question": prompt(
        "Describe the video in detail, " + "one scene after the other, " * 12, videos=[0]
    ),
    "two videos": prompt(videos=[4, 5], scenes=3),
    "an image": prompt("What is in the picture?", images=1),
    "an image and a video": prompt(videos=[6], images=1, scenes=3),
    "text": prompt("What is a red circle?"),
}
FOUR = ("video 0", "video 1", "video 2", "video 3")

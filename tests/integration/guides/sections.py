"""Every line of the pages: in which order they are run, and which are not. Runs nothing."""

from collections.abc import Mapping

from tests.integration.guides.calling import ANSWERS, KCAT
from tests.integration.guides.learning import SURFACES_LIVE, TRAININGS
from tests.integration.guides.operating import LETTERS, LOST, PEOPLE, ROLES, SCHEMAS, TRACES
from tests.integration.guides.rolling import BUNDLES, ROLLOUT
from tests.integration.guides.step import OPERATORS, SURFACES, TRAINING, Step
from tests.integration.shown import blocks, commands, commands_of

# in this order: each goes on with what those before it have left
SECTIONS: Mapping[str, tuple[Step, ...]] = {
    "roles": ROLES,
    "trainings": TRAININGS,
    "surfaces": SURFACES_LIVE,
    "rollouts": ROLLOUT,
    "bundles": BUNDLES,
    "answers": ANSWERS,
    "dead letters": LETTERS,
    "schemas": SCHEMAS,
    "kcat": KCAT,
    "traces": TRACES,
    "people": PEOPLE,
    "what is lost": LOST,
}
# blocks that are no commands, by page and first word: drawings, a file, what a command printed
NO_SHELL = {
    ("README.md", "──"),
    ("docs/concepts/epochs.md", "embeddings.A"),
    ("docs/concepts/labels.md", "impression"),
    ("docs/concepts/live-index.md", "vectors"),
    (TRAINING, "candidates"),
    (OPERATORS, "wrong"),
    (SURFACES, "[who-to-follow]"),
}
NOT_RUN: Mapping[str, list[str]] = {
    # the first five minutes are a test of their own, in both places; the last two are the suite itself, and minutes of its parts
    "docs/index.md": commands("docs/index.md", beginning="make setup"),
    "README.md": [*commands("README.md", beginning="roost up"), "make demo", "make test"],
    # needs a Docker host
    "docs/deploy.md": commands("docs/deploy.md", beginning="docker"),
    # needs a network
    OPERATORS: ["pip install s3fs"],
    # hours: small runs of the same experiments are tests of theirs
    "docs/paper.md": [line for block in blocks("docs/paper.md") for line in commands_of(block)],
    "docs/swap.md": ["roost demo swap --seeds 5 --plot swap.png --json"],
}

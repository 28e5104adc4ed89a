"""The published files whose content is known, and what a given file is held to be."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from hierspeech.official.reading import is_lfs_pointer

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class PublishedFile:
    """One published file: its name, which component it holds, its size in bytes and its digest."""

    name: str
    component: str  # key of `components.CONVERTIBLE`
    size: int
    sha256: str


PUBLISHED = (
    PublishedFile(
        "hierspeechpp_v1.1_ckpt.pth",
        "synthesizer",
        388_999_163,
        "9fd704f9a4d11b62195caaaeb76ce759b12ea69a1c36b2716af44bd60bde6a64",
    ),
    PublishedFile(
        "hierspeechpp_v1_ckpt.pth",
        "synthesizer",
        388_970_075,
        "0229501cd273135bce9ee0be09ddef18e079cb8dbe61cda665fec73afbfad0d4",
    ),
    PublishedFile(
        "ttv_lt960_ckpt.pth",
        "ttv",
        434_482_782,
        "2e408e2c6a72551da0ca616f43e0f989449ff5e0d0ca6229b27dea3dc36aa6c1",
    ),
    PublishedFile(
        "G_340000.pth",
        "speechsr-24k",
        1_715_101,
        "94bc84b6f8bdb375e2027bc7a3222730d29f9d4c042fd9edce0024806d5c4320",
    ),
    PublishedFile(
        "G_100000.pth",
        "speechsr-48k",
        1_715_101,
        "62c70874ac4efeb4dc9c8aa9dc0a611a951e1c36292abeb4c406d7fb91e0eefc",
    ),
    PublishedFile(
        "g_best",
        "denoiser",
        8_350_488,
        "0088cd06068a97b97cc13fe10fe155ea5c24beea79564b2162fab22a79dc9dc5",
    ),
)


@dataclass(frozen=True)
class Source:
    """A checkpoint file that a model was made from."""

    path: Path
    sha256: str
    published: PublishedFile | None  # the published file whose content it has

    @property
    def finding(self) -> str:
        """What is known of its content, in a few words."""
        if self.published is None:
            return "digest not known"
        return f"verified: the published {self.published.name}"


def identify(component: str, path: str | Path, unverified: bool = False) -> Source:
    """Read a file once for its digest, and compare it with the published ones.

    Args:
        component: what the file is meant to hold.
        unverified: take a file that has a published name and another content.
    Raises:
        ValueError: no such file; the name of a published file, but another size or digest; a published file that holds
            another component.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        size = path.stat().st_size
        if is_lfs_pointer(path):
            raise ValueError(f"{path} is a Git LFS pointer, not the weights: fetch them with `git lfs pull`")
        known = [file for file in PUBLISHED if (file.component, file.name) == (component, path.name)]
        if known and size != known[0].size and not unverified:
            raise _not_published(path, f"{size} bytes, expected {known[0].size}")
        digest = file_digest(path)
    except OSError as error:
        raise ValueError(f"{path}: the file cannot be read ({error.strerror})") from error
    found = next((file for file in PUBLISHED if file.sha256 == digest), None)
    if found is not None and found.component != component:
        if not unverified:
            raise ValueError(
                f"{path} is the published {found.component} checkpoint, expected a {component} checkpoint"
            )
        found = None
    if known and found is not known[0] and not unverified:
        raise _not_published(path, f"sha256 {digest[:16]}..., expected {known[0].sha256[:16]}...")
    return Source(path, digest, found)


def file_digest(path: Path) -> str:
    """The sha256 of a file of any size, in hexadecimal."""
    digest = sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _not_published(path: Path, found: str) -> ValueError:
    return ValueError(
        f"{path} is damaged or not the published file of that name ({found}); --unverified takes it as it is"
    )

"""The voices that requests may name: the shipped prompts, OpenAI's names for them, and what was uploaded.

An uploaded voice is known by an id of our making; the recording itself is not kept, and its name is only shown. With API keys it
belongs to the key that sent it: others neither see it nor speak with it.
"""

import json
import logging
import re
import secrets
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.voice import find_voice, read_description
from hierspeech.web.errors import ApiError

# OpenAI's names -> which of the shipped prompts: of the shipped voice lite, women for women's names and men for men's.
OPENAI_VOICES = {
    "alloy": 0,
    "ash": 2,
    "ballad": 3,
    "cedar": 3,
    "coral": 1,
    "echo": 3,
    "fable": 5,
    "marin": 4,
    "nova": 4,
    "onyx": 2,
    "sage": 0,
    "shimmer": 1,
    "verse": 5,
}
logger = logging.getLogger(__name__)
MAX_NAME = 80  # characters
_ID = re.compile(r"voice_[0-9a-f]{24}")


@dataclass(frozen=True)
class StoredVoice:
    """One voice; `owner` is who may use it ("" is anybody)."""

    id: str
    name: str
    language: str
    kind: str  # "shipped" or "uploaded"
    owner: str = ""

    def as_dict(self) -> dict:
        """What the API shows of it."""
        return {"id": self.id, "name": self.name, "language": self.language, "kind": self.kind}


class VoiceStore:
    """All voices of a server; may be used from several threads."""

    def __init__(self, voice: str, max_voices: int, folder: Path | None = None):
        """Args: voice: name, folder or hub id; folder: where uploaded ones are kept, too (None: in memory alone)."""
        place = find_voice(voice)
        self.description = read_description(place)
        config = json.loads((place / self.description.ttv / "config.json").read_text(encoding="utf-8"))
        self.languages = config.get("languages") or [
            self.description.language
        ]  # that the voice was trained on
        self.max_voices, self._folder = max_voices, folder
        self._lock = threading.Lock()
        self._voices: dict[str, tuple[StoredVoice, VoicePrompt]] = {}
        for name in self.description.prompts:
            prompt = VoicePrompt.load(place / "prompts" / f"{name}.safetensors")
            self._keep(StoredVoice(name, name, self.description.language, "shipped"), prompt)
        if folder is not None:
            if not folder.is_dir():
                raise ValueError(f"--voices-folder {folder}: is no folder, expected one that exists.")
            self._look(strict=True)

    def list(self, owner: str = "") -> list[StoredVoice]:
        """The shipped ones in the voice's order, then the uploaded ones of `owner`, oldest first."""
        self._look()
        with self._lock:
            return [voice for voice, _ in self._voices.values() if self._visible(voice, owner)]

    def prompt(self, name: str, owner: str = "") -> VoicePrompt:
        """The prompt of an id or of one of OpenAI's names; 400 where there is none."""
        self._look()
        with self._lock:
            found = self._voices.get(name)
        shipped = self.description.prompts
        if found is not None and self._visible(found[0], owner):
            return found[1]
        if name in OPENAI_VOICES and shipped:
            return self.prompt(shipped[OPENAI_VOICES[name] % len(shipped)])
        known = ", ".join(shipped) or "none shipped"
        raise ApiError(
            400,
            f"unknown voice {name[:MAX_NAME]!r}: expected one of GET /v1/audio/voices ({known}, or an uploaded one).",
            "voice",
            "voice_not_found",
        )

    def check_room(self) -> None:
        """409 where no more voices can be uploaded."""
        self._look()
        with self._lock:
            uploaded = sum(voice.kind == "uploaded" for voice, _ in self._voices.values())
        if uploaded >= self.max_voices:
            message = f"{uploaded} voices are uploaded already, which is all that this server keeps: delete one first."
            raise ApiError(409, message, code="too_many_voices")

    def add(self, name: str, prompt: VoicePrompt, owner: str = "") -> StoredVoice:
        """Keeps a voice under a new id."""
        self.check_room()
        voice = StoredVoice(
            f"voice_{secrets.token_hex(12)}", name, self.description.language, "uploaded", owner
        )
        if self._folder is not None:
            prompt.save(self._folder / f"{voice.id}.safetensors")
            temporary = self._folder / f".{voice.id}.tmp"
            temporary.write_text(json.dumps(asdict(voice)), encoding="utf-8")
            temporary.replace(self._folder / f"{voice.id}.json")  # last: what has it is whole
        self._keep(voice, prompt)
        return voice

    def delete(self, name: str, owner: str = "") -> None:
        """Forgets an uploaded voice; 404 where there is none, 403 for a shipped one."""
        self._look()
        with self._lock:
            found = self._voices.get(name)
            if found is None or not self._visible(found[0], owner):
                raise ApiError(404, f"there is no voice {name[:MAX_NAME]!r}.", "id", "voice_not_found")
            if found[0].kind == "shipped":
                raise ApiError(403, f"the voice {name!r} ships with the server and cannot be deleted.", "id")
            del self._voices[name]
        if self._folder is not None:  # the id is one of ours, not whatever the request said
            (self._folder / f"{found[0].id}.json").unlink(missing_ok=True)
            (self._folder / f"{found[0].id}.safetensors").unlink(missing_ok=True)

    def _look(self, strict: bool = False) -> None:
        """Sees what other servers with the same folder added and deleted; `strict`: what cannot be read is an error."""
        if self._folder is None:
            return
        there = {path.stem: path for path in sorted(self._folder.glob("voice_*.json"))}
        with self._lock:
            known = {name for name, (voice, _) in self._voices.items() if voice.kind == "uploaded"}
            for name in known - there.keys():
                del self._voices[name]
        for name, path in there.items():
            if name not in known:
                try:
                    self._load(path)
                except ValueError as error:  # perhaps another server deletes it just now
                    if strict:
                        raise
                    logger.warning("%s", error)

    def _load(self, path: Path) -> None:
        try:
            voice = StoredVoice(**json.loads(path.read_text(encoding="utf-8")))
            if voice.id != path.stem or not _ID.fullmatch(voice.id) or voice.kind != "uploaded":
                raise ValueError("its id is not that of the file")
            self._keep(voice, VoicePrompt.load(path.with_suffix(".safetensors")))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: not an uploaded voice ({error}).") from error

    def _keep(self, voice: StoredVoice, prompt: VoicePrompt) -> None:
        with self._lock:
            self._voices[voice.id] = (voice, prompt)

    @staticmethod
    def _visible(voice: StoredVoice, owner: str) -> bool:
        return voice.kind == "shipped" or voice.owner == owner

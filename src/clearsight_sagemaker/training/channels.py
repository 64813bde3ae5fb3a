"""Channels: the data of a job in input/data, from objects, manifests and folders."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from clearsight_sagemaker.algorithms.built_in_algorithms import algorithm_of
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.training.failure import JobFailed, client_error, download_error
from clearsight_sagemaker.training.objects import Objects, split_uri

_S3_TYPES = ("S3Prefix", "ManifestFile", "AugmentedManifestFile")
_MODES = ("File", "FastFile")
_MOST_NAME = 255  # bytes of a file's name


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """A channel of a request. kind: S3DataType.  mode: File or FastFile.  sharded: True for ShardedByS3Key.

    word: what messages call it; inputs of processing and transform jobs are read in the same way.
    """

    name: str
    uri: str
    kind: str
    mode: str
    compression: str = "None"
    content_type: str = ""
    record_wrapper: str = "None"
    sharded: bool = False
    attributes: tuple[str, ...] = ()
    word: str = "channel"

    @property
    def label(self) -> str:
        """Word and name, as messages have them."""
        return f"{self.word} {self.name}"

    @classmethod
    def of(cls, entry: Mapping[str, Any], default_mode: str) -> Channel:
        """Return the channel of an entry of InputDataConfig. Raises JobFailed for a kind that is not supported."""
        name = entry["ChannelName"]
        if name in (".", ".."):
            raise client_error(f"channel {name}: a channel cannot have this name.")
        source = entry["DataSource"].get("S3DataSource")
        if source is None:
            others = ", ".join(sorted(entry["DataSource"]))
            raise client_error(f"channel {name}: {others} is not supported. Allowed: S3DataSource.")
        mode = entry.get("InputMode") or default_mode
        for setting, value, allowed in (("InputMode", mode, _MODES), ("S3DataType", source["S3DataType"], _S3_TYPES)):
            if value not in allowed:
                raise client_error(
                    f"channel {name}: {setting} {value} is not supported. Allowed: {', '.join(allowed)}."
                )
        return cls(
            name=name,
            uri=source["S3Uri"],
            kind=source["S3DataType"],
            mode=mode,
            compression=entry.get("CompressionType") or "None",
            content_type=entry.get("ContentType", ""),
            record_wrapper=entry.get("RecordWrapperType") or "None",
            sharded=source.get("S3DataDistributionType") == "ShardedByS3Key",
            attributes=tuple(source.get("AttributeNames", ())),
        )

    def to_config(self) -> dict[str, str]:
        """Return the entry of inputdataconfig.json."""
        values = {
            "TrainingInputMode": self.mode,
            "S3DistributionType": "ShardedByS3Key" if self.sharded else "FullyReplicated",
            "RecordWrapperType": self.record_wrapper,
        }
        return {**values, "ContentType": self.content_type} if self.content_type else values


@dataclass(frozen=True, slots=True)
class ChannelFile:
    """A file of a channel. name: path in it.  uri: of the object, or a path of this machine."""

    name: str
    uri: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Downloader:
    """Puts the files of channels into a folder.

    links: True for hard links, where the job sees the folder through an overlay and cannot change them; False for
    copies. check: called before each file; raises to end the download.
    host, hosts: number of this host from 0, and of all, for ShardedByS3Key.
    """

    objects: Objects
    links: bool
    check: Callable[[], None]
    host: int = 0
    hosts: int = 1

    def download(self, channel: Channel, folder: Path) -> int:
        """Put the files of a channel into `folder`; return their number.

        Raises JobFailed for data that are missing or cannot be files.
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            files = self.files(channel)
            for file in files:
                self.check()
                self._put(file, folder, channel)
        except S3Error as error:
            raise _store_error(channel, error) from None
        return len(files)

    def files(self, channel: Channel) -> list[ChannelFile]:
        """Return the files of a channel for this host. Raises JobFailed where there are none."""
        try:
            files = sorted(self._files(channel), key=lambda file: file.uri)
        except S3Error as error:
            raise _store_error(channel, error) from None
        return files[self.host :: self.hosts] if channel.sharded else files

    def _files(self, channel: Channel) -> list[ChannelFile]:
        if channel.uri.startswith("file://"):
            files = list(_local_files(channel))
        elif channel.kind == "S3Prefix":
            files = list(self._prefix(channel.uri))
        elif channel.kind == "ManifestFile":
            files = list(self._manifest(channel))
        else:
            files = list(self._augmented_manifest(channel))
        if not files:
            fix = "Check the bucket and the prefix."
            raise download_error(f"{channel.label}: no object has a key that begins with {channel.uri}. {fix}")
        return files

    def _prefix(self, uri: str) -> Iterator[ChannelFile]:
        bucket, prefix = split_uri(uri)
        folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
        parent = prefix[: prefix.rfind("/") + 1]
        for stored in self.objects.keys(uri):
            # Keys in the folder of this name lose its name. An object of exactly this name, and others that begin
            # with it ("train2/..." for "train"), lose the folder that they are in.
            name = stored.key.removeprefix(folder if stored.key.startswith(folder) else parent)
            if name and not (name.endswith("/") and not stored.size):  # a marker of a folder is no file
                yield ChannelFile(name, f"s3://{bucket}/{stored.key}")

    def _manifest(self, channel: Channel) -> Iterator[ChannelFile]:
        entries = self._json(channel, self._text(channel.uri))
        if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
            raise download_error(f'{channel.label}: {channel.uri} must be a list that begins with {{"prefix": ...}}.')
        prefix = str(entries[0].get("prefix", ""))
        for name in entries[1:]:
            yield ChannelFile(str(name), prefix + str(name))

    def _augmented_manifest(self, channel: Channel) -> Iterator[ChannelFile]:
        """Yield the manifest, under its name, and each object that an attribute of a line refers to, under its key."""
        yield ChannelFile(channel.uri.rpartition("/")[2], channel.uri)
        uris: dict[str, None] = {}
        for line in self._text(channel.uri).splitlines():
            row = self._json(channel, line) if line.strip() else {}
            for attribute in channel.attributes if isinstance(row, dict) else ():
                value = row.get(attribute)
                if attribute.endswith("-ref") and isinstance(value, str):
                    uris[value] = None
        for uri in uris:
            yield ChannelFile(split_uri(uri)[1], uri)

    def _text(self, uri: str) -> str:
        with self.objects.opened(uri) as (_, file):
            return file.read().decode("utf-8", errors="replace")

    def _json(self, channel: Channel, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise download_error(f"{channel.label}: {channel.uri} is not JSON ({error}).") from None

    def _put(self, file: ChannelFile, folder: Path, channel: Channel) -> None:
        unzip = channel.compression == "Gzip" and file.name.endswith(".gz")
        target = folder / _safe(file.name.removesuffix(".gz") if unzip else file.name, channel)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.uri.startswith("s3://"):
                with self.objects.opened(file.uri) as (path, source):
                    self._write(path, source, target, unzip)
            else:
                with open(file.uri, "rb") as source:
                    self._write(Path(file.uri), source, target, unzip)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            text = f"{channel.label}: {file.uri} cannot be a file, because another key has a part of its name."
            raise download_error(text) from None
        except (gzip.BadGzipFile, EOFError):
            raise download_error(f"{channel.label}: {file.uri} is no whole gzip file.") from None

    def _write(self, path: Path, source: Any, target: Path, unzip: bool) -> None:
        if self.links and not unzip and _linked(path, source, target):
            return
        with target.open("xb") as copy:
            if unzip:
                with gzip.open(source) as content:
                    shutil.copyfileobj(content, copy, 1 << 20)
            else:
                shutil.copyfileobj(source, copy, 1 << 20)


def _store_error(channel: Channel, error: S3Error) -> JobFailed:
    return download_error(f"{channel.label}: {error.code}: {error.message.rstrip('.')} ({error.resource}).")


def _linked(path: Path, source: Any, target: Path) -> bool:
    """Return True if a hard link to the open file was possible. A file on another file system cannot have one."""
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:
        return False
    found, opened = target.stat(), os.fstat(source.fileno())
    if (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino):
        return True
    target.unlink()  # the object was replaced meanwhile
    return False


def _local_files(channel: Channel) -> Iterator[ChannelFile]:
    root = Path(unquote(urlsplit(channel.uri).path))
    if root.is_file():
        yield ChannelFile(root.name, str(root))
    for parent, _, names in os.walk(root):
        for name in names:
            path = Path(parent, name)
            if path.is_file():
                yield ChannelFile(path.relative_to(root).as_posix(), str(path))


def _safe(name: str, channel: Channel) -> str:
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or "\0" in name or max(len(part.encode()) for part in parts) > _MOST_NAME:
        raise download_error(f"{channel.label}: key {name!r} cannot be a path of a file in the channel.")
    return name


def channels_of(request: Mapping[str, Any]) -> list[Channel]:
    """Return the channels of a request. Raises JobFailed for one that is not supported."""
    default = request["AlgorithmSpecification"].get("TrainingInputMode", "File")
    entries = request.get("InputDataConfig") or ()
    if algorithm_of(request):  # built-in algorithms read files, whatever the mode
        return [Channel.of({**entry, "InputMode": "File"}, "File") for entry in entries]
    return [Channel.of(entry, default) for entry in entries]

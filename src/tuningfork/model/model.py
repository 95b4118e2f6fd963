"""An opened bundle that predicts: images in memory → vote fractions and class probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import progress_of
from ..display.cards import THUMBNAIL_SIDE
from ..images.encode import jpeg, shrink
from ..images.fits.framing import Framing
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from .assembly import assembled
from .bundle import Bundle, open_bundle
from .calibration import Calibration
from .card import accuracy_text, model_card
from .embeddings import Embedder
from .ensemble import Ensemble, NetworkOutputs, Running
from .image_reader import ImageReader, LoadedImage, Source
from .options import InferenceOptions
from .predictions import Prediction, Predictions, concatenated
from .runtime import Runtime
from .sources import Images, images_of

__all__ = ["Model", "LoadedImage", "load"]

#: Images at a time in `Model.predict`, if not chosen.
BATCH_SIZE = 32
#: Images of which `Model.predict` keeps a thumbnail, a few kilobytes each.
MAX_THUMBNAILS = 1000


def load(
    name_or_path: str | Path = "default",
    *,
    threads: int = 0,
    precision: str = "f32",
    device: str = "auto",
    framing: Framing = Framing(),
) -> Model:
    """Open a model: one that comes with the package, by name, or a bundle's folder.

    Parameters
    ----------
    name_or_path : str or path
        ``default``, ``fast``, or the folder of a bundle.
    threads : int
        Threads of the network on a CPU; 0: as many as cores.
    precision : "f32" or "bf16"
        bfloat16 is faster on CPUs that know it, and deviates; it needs the extra ``openvino``.
    device : "auto", "cpu" or "cuda"
        "auto": an NVIDIA GPU if there is one and PyTorch or ONNX Runtime can use it, else the CPU. A GPU that is named
        is used, or it is an error.
    framing : Framing
        How FITS images are cropped and scaled; by default the first image, north up, all that it shows.

    Raises
    ------
    BundleError
        If there is no such model, or it is not complete.
    RuntimeUnavailable
        If this machine or installation has not the precision or the device.

    Examples
    --------
    >>> import tuningfork
    >>> tuningfork.load("fast").tree.title
    'Galaxy Zoo 2'
    """
    return Model(open_bundle(name_or_path), threads=threads, precision=precision, device=device, framing=framing)


class Model:
    """A bundle with its networks ready to run.

    Raises
    ------
    BundleError
        If a network cannot be opened, or its inputs and outputs are not those of the bundle's tree.
    RuntimeUnavailable
        If this machine or installation has not the precision, the device or the engine; see `runtime.open_network`.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 0,
        precision: str = "f32",
        device: str = "auto",
        engine: str = "auto",
        framing: Framing = Framing(),
    ) -> None:
        self.bundle = bundle
        self.tree = bundle.target
        self.n_views = bundle.n_views
        self.calibration = bundle.calibration or Calibration()
        self.framing = framing
        #: How the networks were opened, to open them again in another process.
        self.running: Running = {"threads": threads, "precision": precision, "device": device, "engine": engine}
        self.ensemble = Ensemble(bundle, self.running)

    def __repr__(self) -> str:
        bundle = self.bundle
        answers = f"{len(self.tree.columns)} vote fractions of {self.tree.title}" if bundle.outputs.votes else ""
        classes = f"{len(self.tree.classes)} classes" if self.tree.classes else ""
        views = "1 view" if self.n_views == 1 else f"{self.n_views} views"
        networks = ", ".join(dict.fromkeys(network.architecture for network in bundle.networks if network.architecture))
        facts = [networks, " and ".join(filter(None, (answers, classes))), views, *accuracy_text(bundle), self.runtime]
        return f"<Model {bundle.name!r}: {'; '.join(filter(None, facts))}>"

    @property
    def networks(self) -> list[Runtime]:
        """Its opened networks."""
        return self.ensemble.networks

    @property
    def card(self) -> str:
        """Its card in Markdown (what it was trained on, how it scores, what it fails at, licence and credit)."""
        return model_card(self.bundle)

    @property
    def runtime(self) -> str:
        """What its networks run on, such as ``ONNX Runtime 1.32.0, float32, CPU``."""
        return self.networks[0].name

    @property
    def batch_size(self) -> int:
        """Images that its networks take at a time, if not chosen."""
        return self.networks[0].batch

    @cached_property
    def image_reader(self) -> ImageReader:
        """How its images are read."""
        return ImageReader(self.preprocesses, self.calibration.domain, self.framing)

    def reader_of(self, options: InferenceOptions) -> ImageReader:
        """Return how its images are read with these options.

        Parameters
        ----------
        options : InferenceOptions
            With `structure` the galaxies are measured, too.
        """
        return replace(self.image_reader, structure=options.structure)

    @property
    def preprocesses(self) -> tuple[Preprocess, ...]:
        """The distinct preprocessings of the bundle's networks."""
        return self.ensemble.preprocesses

    @property
    def feature_width(self) -> int:
        """D, numbers in an image's `features`; 0 if a network has none."""
        return self.ensemble.feature_width

    def embedder(self, n_views: int | None = None) -> Embedder:
        """Return which model and how many views its embeddings are of.

        Parameters
        ----------
        n_views : 1, 2, 4, 8 or None
            None: as many views as the bundle asks for.

        Raises
        ------
        ValueError
            If a network has no features.
        """
        self.ensemble.check_features()
        return Embedder(self.bundle.name, self.bundle.sha256, n_views or self.n_views, self.feature_width)

    def inputs(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
        """Return an image, cropped and resized once for each of `preprocesses`.

        Parameters
        ----------
        rgb : (H, W, 3) uint8
            Rows (0 at the top), columns, red, green, blue.

        Returns
        -------
        tuple of (size, size, 3) uint8
        """
        return self.image_reader.inputs(rgb)

    def calibration_of(self, n_views: int | None = None) -> Calibration:
        """Return the calibration of predictions with so many views; `Calibration.for_views` says what is left out.

        Parameters
        ----------
        n_views : 1, 2, 4, 8 or None
            None: as many views as the bundle asks for.
        """
        return self.calibration.for_views(n_views or self.n_views)

    def run(
        self, inputs: Sequence[tuple[NDArray[np.uint8], ...]], options: InferenceOptions = InferenceOptions()
    ) -> NetworkOutputs:
        """Run the networks on N images, averaged over views (test-time augmentation) and over the ensemble.

        The average of cumulative fractions keeps every sum of the tree.

        Parameters
        ----------
        inputs : N tuples of (size, size, 3) uint8
            As `inputs` gives them.
        options : InferenceOptions
            `batch_size` None: all images at once.

        Raises
        ------
        ValueError
            If embeddings are requested of networks that have none.
        """
        return self.ensemble.run(inputs, options)

    def predict(
        self,
        source: Any,
        *,
        n_views: int | None = None,
        embeddings: bool = False,
        options: InferenceOptions | None = None,
        framing: Framing | None = None,
        stretch: str | None = None,
        size: float | None = None,
        progress: bool | Callable[[int, int], None] | None = None,
    ) -> Prediction | Predictions:
        """Predict vote fractions and class of one image, or of each of several.

        Parameters
        ----------
        source : image, or several images
            One image: a path, bytes, a binary file object, a Pillow image, or an array or tensor (H, W, 3), (3, H, W)
            or (H, W). Several: a folder, a pattern such as ``"cutouts/*.jpg"``, an archive, a catalogue, a batch
            (N, H, W, 3) or (N, 3, H, W), a data frame with a column of paths, or a list of any of these. Brightness
            is bytes, 16-bit integers, or floats in [0, 1].
        n_views : 1, 2, 4, 8 or None
            Rotated and reflected views to average (test-time augmentation); None: as many as the model asks for.
        embeddings : bool
            Also return the networks' features, as `Predictions.embeddings`, in the same pass.
        options : InferenceOptions, optional
            The same, the batch size and whether structure is measured as one object, instead of `n_views` and
            `embeddings`.
        framing : Framing, optional
            How FITS images are cropped and scaled; None: as the model was loaded with.
        stretch : str, optional
            Instead of the framing's: ``auto``, or the preset of a survey, such as ``sdss``.
        size : float, optional
            Instead of the framing's: arcseconds a side of the square that is shown of FITS images.
        progress : bool or callable (images done, images in all), optional
            True: a bar on a terminal, a line a minute in a log.

        Returns
        -------
        Prediction or Predictions
            Predictions of several images; then an image that cannot be read becomes that row's `error`.

        Raises
        ------
        ValueError
            If an option is out of its range, the shape of an array can be read in two ways or in none, or embeddings
            are requested of a model that has none.
        ImageError
            If a single image cannot be read.
        FileNotFoundError
            If a path does not exist, or nothing matches a pattern.
        TypeError
            If `source` is something else; the message names what is taken.

        Examples
        --------
        >>> import tuningfork
        >>> from tuningfork.simulation import draw, render
        >>> model = tuningfork.load("fast")
        >>> predictions = model.predict([render(draw(seed=0, index=i)) for i in range(3)])
        >>> predictions.cumulative.shape
        (3, 37)
        """
        if options is not None and (n_views is not None or embeddings):
            raise ValueError("give n_views and embeddings within options, not beside it")
        options = options or InferenceOptions(n_views, embeddings=embeddings)
        framing_options = (("stretch", stretch), ("size", size))
        changes: dict[str, Any] = {name: value for name, value in framing_options if value is not None}
        reader = replace(self.reader_of(options), framing=replace(framing or self.framing, **changes))
        with images_of(source) as images, progress_of(progress) as report:
            predictions = self._predict(images, options, reader, report)
        if not images.is_single:
            return predictions
        if predictions.errors[0]:
            where = f"{predictions.paths[0]}: " if predictions.paths[0] else ""
            raise ImageError(f"{where}{predictions.errors[0]}")
        return predictions[0]

    def embed(self, source: Any, *, n_views: int | None = None) -> NDArray[np.float32]:
        """Return the networks' features, their last layer before the outputs, of one image or of several.

        Parameters
        ----------
        source : image, or several images
            As `predict` takes them.
        n_views : 1, 2, 4, 8 or None
            Views to average; None: as many as the model asks for.

        Returns
        -------
        (D,) or (N, D) float32
            Of one image, or of each of several; NaN for an image that cannot be read.

        Raises
        ------
        ValueError
            If a network has no features; otherwise as `predict`.

        Examples
        --------
        >>> import tuningfork
        >>> from tuningfork.simulation import draw, render
        >>> model = tuningfork.load("fast")
        >>> model.embed(render(draw(seed=0, index=0))).shape == (model.feature_width,)
        True
        """
        predicted = self.predict(source, n_views=n_views, embeddings=True)
        vectors = predicted.embedding if isinstance(predicted, Prediction) else predicted.embeddings
        assert vectors is not None
        return vectors

    def _predict(
        self,
        images: Images,
        options: InferenceOptions,
        reader: ImageReader,
        progress: Callable[[int, int], None] | None = None,
    ) -> Predictions:
        parts, total = [], len(images.rows)
        batch_size = options.batch_size or BATCH_SIZE
        # Even no images are one batch, which says how wide embeddings are.
        for first in range(0, max(1, total), batch_size):
            batch = images.read(first, first + batch_size, reader)
            thumbnails = tuple(
                jpeg(shrink(row.inputs[0], THUMBNAIL_SIDE), 85) if row.inputs and n < MAX_THUMBNAILS else b""
                for n, row in enumerate(batch, first)
            )
            parts.append(replace(self.predict_loaded(batch, options), thumbnails=thumbnails))
            if progress:
                progress(min(first + batch_size, total), total)
        return concatenated(self.tree, parts)

    def read(self, source: Source, number: int = 0) -> LoadedImage:
        """Read and resize one image; a failure becomes the row's error. Safe to call from many threads.

        Parameters
        ----------
        source : path, bytes, file object, array or Pillow image
        number : int
            Row of the image, its ID if it has no name.
        """
        return self.image_reader.read(source, number)

    def predict_loaded(
        self, images: Sequence[LoadedImage], options: InferenceOptions = InferenceOptions()
    ) -> Predictions:
        """Predict images that `read` has read.

        Parameters
        ----------
        images : sequence of LoadedImage
        options : InferenceOptions
            `batch_size` None: all images at once.
        """
        with np.errstate(invalid="ignore"):  # a network's NaN or infinity becomes an error of its row
            outputs = self.run([row.inputs for row in images if row.inputs is not None], options)
        predictions = assembled(
            images,
            outputs,
            self.ensemble.is_finite(outputs),
            tree=self.tree,
            calibration=self.calibration_of(options.n_views),
            has_votes=bool(self.bundle.outputs.votes),
            structure=options.structure,
        )
        return replace(predictions, embedder=self.embedder(options.n_views)) if options.embeddings else predictions

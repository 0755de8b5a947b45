"""FastAPI as its tutorial has it: an uploaded file, answered where it is received."""

from classify import Model
from fastapi import FastAPI, File, UploadFile

app = FastAPI()
model = Model()


@app.post("/async")
async def on_the_loop(image: UploadFile = File()) -> list[dict[str, float]]:  # noqa: B008
    """Answer one image on the event loop, as most handlers on the internet do."""
    return model(await image.read())


@app.post("/threads")
def on_threads(image: bytes = File()) -> list[dict[str, float]]:
    """Answer one image on a thread of Starlette's pool, which is the better way to write it."""
    return model(image)

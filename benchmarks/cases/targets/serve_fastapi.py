"""FastAPI and uvicorn with onnxruntime, as people build it: the vision model, one request after the other, no batching.

    python -m benchmarks.cases.targets.serve_fastapi PORT

KServe V2 over HTTP, requests in JSON or binary. The model runs in a thread of its own, so that the event loop goes on.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from . import v2, vision

app = FastAPI()
look = vision.Model()
worker = ThreadPoolExecutor(1)


@app.post(v2.path(vision.NAME))
async def infer(request: Request) -> Response:
    try:
        images = v2.decode_request(request.headers, await request.body())[vision.INPUT]
        if images.dtype != "u1" or images.shape[1:] != (vision.SIDE, vision.SIDE, 3):
            raise ValueError(f"{vision.INPUT} are UINT8 [n, {vision.SIDE}, {vision.SIDE}, 3]")
    except (KeyError, ValueError) as fault:
        return JSONResponse({"error": str(fault)}, 400)
    scores = await asyncio.get_running_loop().run_in_executor(worker, look, images)
    return Response(v2.encode_reply(vision.NAME, {vision.OUTPUT: scores}), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)

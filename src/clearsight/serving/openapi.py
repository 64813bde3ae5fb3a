"""Description of an endpoint for programs (OpenAPI 3.1) and for people: a page with a form and examples."""

from __future__ import annotations

import html
from string import Template
from typing import Any

from clearsight.serving.served_model import ModelDescription

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$model</title>
<style>
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { overflow-wrap: anywhere; font-size: clamp(1.3rem, 6vw, 2rem); }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: .4rem; font-size: .85rem; }
form { padding: 1rem; border: 2px dashed var(--line); border-radius: .4rem; }
form.over { border-style: solid; }
img { max-width: 100%; max-height: 16rem; display: block; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; }
td { padding: .2rem .6rem .2rem 0; overflow-wrap: anywhere; }
td.bar { width: 45%; } td.bar div { background: #3b82f6; height: .8rem; border-radius: .2rem; min-width: 1px; }
#error { color: #dc2626; }
</style></head><body>
<h1>$model</h1>
<p>$about <a href="/openapi.json">openapi.json</a></p>
<form id="form"><label>An image: <input type="file" name="file" accept="image/*" required></label>
<label id="secret"$hidden> Token: <input type="password" name="token" autocomplete="off"></label>
<button>Classify</button><p>Or drop a file here.</p></form>
<img id="image" alt="the image that was sent" hidden><p id="error" role="alert"></p><table id="table"></table>
<h2>From programs</h2>
<h3>curl</h3><pre>$curl</pre>
<h3>Python</h3><pre>$python</pre>
<h3>boto3</h3><pre>$boto</pre>
<script>
const form = document.getElementById("form"), table = document.getElementById("table");
const image = document.getElementById("image"), error = document.getElementById("error");
async function classify(file) {
  error.textContent = ""; table.replaceChildren();
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file); image.hidden = false;
  const headers = {"Content-Type": file.type || "application/octet-stream", "Accept": "application/json"};
  if (form.token.value) headers["Authorization"] = "Bearer " + form.token.value;
  try {
    const response = await fetch("/invocations", {method: "POST", headers, body: file});
    const text = await response.text();
    let answer = null;
    try { answer = JSON.parse(text); } catch { }
    if (!response.ok) { error.textContent = answer?.error ?? text; return; }
    if (!Array.isArray(answer?.top)) { table.insertRow().insertCell().textContent = text; return; }
    for (const {label, probability} of answer.top) {
      const row = table.insertRow(), bar = document.createElement("div");
      row.insertCell().textContent = label;
      bar.style.width = 100 * probability + "%";
      const cell = row.insertCell(); cell.className = "bar"; cell.append(bar);
      row.insertCell().textContent = (100 * probability).toFixed(1) + " %";
    }
  } catch (failure) { error.textContent = "The endpoint did not answer: " + failure.message; }
}
form.addEventListener("submit", event => { event.preventDefault(); classify(form.file.files[0]); });
form.addEventListener("dragover", event => { event.preventDefault(); form.classList.add("over"); });
form.addEventListener("dragleave", () => form.classList.remove("over"));
form.addEventListener("drop", event => {
  event.preventDefault(); form.classList.remove("over");
  if (event.dataTransfer.files.length) classify(event.dataTransfer.files[0]);
});
</script></body></html>
""")


def page(model: ModelDescription, url: str, *, token: bool) -> str:
    """Return the page of an endpoint. url: by which its reader has reached it.  token: True where one is asked for."""
    secret = " \\\n  -H 'Authorization: Bearer TOKEN'" if token else ""
    header = ', "Authorization": "Bearer TOKEN"' if token else ""
    examples = {
        "curl": f"curl -H 'Content-Type: image/jpeg'{secret} --data-binary @cat.jpg {url}/invocations",
        "python": "import json, urllib.request\n\n"
        f'headers = {{"Content-Type": "image/jpeg"{header}}}\n'
        f'request = urllib.request.Request("{url}/invocations", open("cat.jpg", "rb").read(), headers)\n'
        'print(json.load(urllib.request.urlopen(request))["label"])',
        "boto": "import boto3\n\n"
        f'client = boto3.client("sagemaker-runtime", endpoint_url="{url}", region_name="local",\n'
        '                      aws_access_key_id="any", aws_secret_access_key="any")\n'
        'answer = client.invoke_endpoint(EndpointName="any", ContentType="image/jpeg", Body=open("cat.jpg", "rb"))\n'
        'print(answer["Body"].read().decode())',
    }
    values = {name: html.escape(text) for name, text in examples.items()}
    hidden = "" if token else " hidden"
    about = (
        f"{len(model.classes)} classes; images are resized to {model.image_size} pixels."
        if model.classes
        else "The model has code of its own, which reads the request and writes the response."
    )
    return _PAGE.substitute(values, model=html.escape(model.model), about=about, hidden=hidden)


def openapi(model: ModelDescription) -> dict[str, Any]:
    """Return the endpoint as OpenAPI 3.1."""
    classes, reads, writes = model.classes, model.reads or ("*/*",), model.writes or ("*/*",)
    binary, number = {"type": "string", "format": "binary"}, {"type": "number", "minimum": 0, "maximum": 1}
    ranking: dict[str, Any] = {"label": {"enum": list(classes)}, "probability": number}
    ranked = {"type": "object", "properties": ranking}
    probabilities = {"type": "object", "properties": dict.fromkeys(classes, number)}
    record = {
        "type": "object",
        "properties": {
            **ranking,
            "probabilities": probabilities,
            "top": {"type": "array", "items": ranked},
        },
    }
    several = {"type": "object", "properties": {"predictions": {"type": "array", "items": record}}}
    error = {"type": "object", "properties": {"error": {"type": "string"}}}
    refused = {"description": "refused", "content": {"application/json": {"schema": error}}}
    schemas = {"application/json": {"anyOf": [record, several]}}
    answers = {name: {"schema": schemas.get(name, binary)} for name in writes}
    invocations = {
        "summary": "Classify images",
        "requestBody": {"required": True, "content": {name: {"schema": _body(name, binary)} for name in reads}},
        "responses": {"200": {"description": "probabilities", "content": answers}, "4XX": refused, "503": refused},
    }
    ping = {"summary": "Health", "responses": {"200": {"description": "the model answers"}, "503": refused}}
    return {
        "openapi": "3.1.0",
        "info": {"title": model.model, "version": "1"},
        "paths": {"/invocations": {"post": invocations}, "/ping": {"get": ping}},
    }


def _body(name: str, binary: dict[str, str]) -> dict[str, Any]:
    match name:
        case "application/json":
            text = {"type": "string", "contentEncoding": "base64"}
            images = {"type": "array", "items": text}
            return {"type": "object", "properties": {"image": text, "images": images}}
        case "multipart/form-data":
            return {"type": "object", "properties": {"file": binary}}
    return dict(binary)

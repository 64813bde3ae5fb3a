// An image that is dropped on the page, or chosen, is sent to the endpoint; its answer is shown beside it.
const drop = document.getElementById("drop");
const result = document.getElementById("result");
const MOST_TEXT = 20000; // characters of an answer

drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
});
document.getElementById("file").addEventListener("change", (event) => {
  if (event.target.files.length) send(event.target.files[0]);
});

async function send(file) {
  if (file.size > Number(drop.dataset.most)) {
    show(`${file.name} has ${file.size} bytes; an endpoint takes at most ${drop.dataset.most}.`, "");
    return;
  }
  const preview = new FileReader();
  preview.onload = () => { image.src = preview.result; };
  preview.readAsDataURL(file);
  const image = document.createElement("img");
  image.alt = file.name;
  const start = performance.now();
  show("Waiting for the answer.", "", image);
  try {
    const headers = { "Content-Type": file.type || "application/octet-stream", Accept: "application/json" };
    const response = await fetch(drop.dataset.address, { method: "POST", headers, body: file });
    const milliseconds = Math.round(performance.now() - start);
    const variant = response.headers.get("x-amzn-invoked-production-variant") || "";
    show(`Status ${response.status}, ${milliseconds} ms${variant && `, variant ${variant}`}`, readable(await response.text()), image);
  } catch (error) {
    show(`The service does not answer (${error.message}).`, "", image);
  }
}

function readable(text) {
  try {
    const value = JSON.parse(text);
    return value.OriginalMessage || JSON.stringify(value, null, 2);
  } catch {
    return text; // it is no JSON
  }
}

function show(sentence, text, image) {
  const line = document.createElement("p");
  line.textContent = sentence;
  const parts = image ? [image, line] : [line];
  if (text) {
    const block = document.createElement("pre");
    block.textContent = text.slice(0, MOST_TEXT);
    parts.push(block);
  }
  result.replaceChildren(...parts);
}

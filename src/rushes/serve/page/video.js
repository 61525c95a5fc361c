// The video that is asked about.

const at = (id) => document.getElementById(id);

// A file as the page holds it; `data` is a promise of its data URL.
export function open(file) {
  if (file.type && !file.type.startsWith("video/")) throw new Error(`This is no video: ${file.name} (${file.type}).`);
  const data = dataURL(file);
  data.catch(() => {}); // whoever asks with it hears of it
  return { name: file.name, bytes: file.size, url: URL.createObjectURL(file), data };
}

export function show({ name, bytes, url }) {
  const player = at("player");
  player.onerror = () => (player.hidden = true); // not a kind that the browser knows; the server may
  player.hidden = false;
  player.src = url;
  player.setAttribute("aria-label", name);
  at("video-name").textContent = `${name}, ${bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`}`;
  at("video").dataset.taken = "";
}

function dataURL(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(`data:${file.type || "video/mp4"};base64,${reader.result.split(",", 2)[1] ?? ""}`);
    reader.onerror = () => failed(new Error(`The file ${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

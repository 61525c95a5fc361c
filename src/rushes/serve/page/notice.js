// What went wrong, with another try where there can be one; and the question for the key.

const at = (id) => document.getElementById(id);
const FINAL = [400, 404, 413]; // another try would be answered likewise
let waiting = null;

// Shows an error; `retry` is called when another try is asked for, which may have to wait.
export function notice(error, retry = null) {
  clearNotice();
  const reason = error.message || String(error);
  at("notice").hidden = false;
  at("notice-text").textContent = `${reason[0].toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`;
  at("again").hidden = retry === null || FINAL.includes(error.status);
  at("again").onclick = () => waiting === null && retry();
  countDown(error.retryAfter_s ?? 0);
}

function countDown(seconds) {
  at("again").setAttribute("aria-disabled", seconds > 0);
  at("again").textContent = seconds > 0 ? `Try again in ${seconds} s` : "Try again";
  waiting = seconds > 0 ? setTimeout(() => countDown(seconds - 1), 1000) : null;
}

export function clearNotice() {
  clearTimeout(waiting);
  waiting = null;
  at("notice").hidden = true;
}

// A key, or null; `wrong`: one was tried already.
export function askKey(wrong) {
  const dialog = at("key-dialog");
  at("key-wrong").hidden = !wrong;
  at("key").value = "";
  dialog.showModal();
  return new Promise((done) => {
    const close = (key) => {
      dialog.close();
      done(key);
    };
    at("key-form").onsubmit = (event) => {
      event.preventDefault();
      close(at("key").value.trim());
    };
    at("key-cancel").onclick = () => close(null);
    dialog.oncancel = () => done(null);
  });
}

"use strict";
(() => {
  const NO_ANSWER = "The service did not answer. Try again.";
  const FIELDS = { token: "token", allowed_origins: "origins", email: "email" };
  const part = (id) => document.getElementById(id);
  const base = new URL("../", location.href);

  // Out of the address bar and the history: the code is a secret until it is used.
  if (location.hash.length > 1) {
    part("token").value = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
  }
  // Another link, opened in this tab, loads nothing by itself.
  addEventListener("hashchange", () => location.reload());

  const post = async (path, body) => {
    const answer = await fetch(new URL(path, base), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      referrerPolicy: "no-referrer",
    });
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) throw Object.assign(new Error(found.detail || NO_ANSWER), { status: answer.status, errors: found.errors });
    return found;
  };

  // People copy whole addresses; the service takes scheme, host and port.
  const originOf = (address) => {
    try {
      return new URL(address.includes("://") ? address : "https://" + address).origin;
    } catch {
      return address;
    }
  };

  const tell = (text) => {
    part("problem").textContent = text;
    part("problem").hidden = !text;
  };

  const fieldOf = (error) => FIELDS[error.pointer.split("/")[1]];
  const sentence = (error) => {
    const label = document.querySelector("label[for=" + fieldOf(error) + "]");
    return (label ? label.textContent + ": " : "") + error.detail.replace(/\.?$/, ".");
  };

  // The fields at fault are marked, and the first one is where to go on.
  const mark = (errors) => {
    const names = errors.map(fieldOf).filter(Boolean);
    Object.values(FIELDS).forEach((id) => {
      if (names.includes(id)) part(id).setAttribute("aria-invalid", "true");
      else part(id).removeAttribute("aria-invalid");
    });
    if (names.length) part(names[0]).focus();
  };

  const whileBusy = (form, work) => form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    tell("");
    mark([]);
    try {
      await work();
    } catch (error) {
      const errors = error.errors || [];
      tell(errors.map(sentence).join(" ") || (error.status ? error.message : NO_ANSWER));
      mark(errors);
      part("resend").hidden = ![404, 410].includes(error.status);
    } finally {
      button.disabled = false;
    }
  });

  const show = (found) => {
    part("activate").hidden = part("resend").hidden = part("sent").hidden = true;
    part("token").value = "";
    part("shop").textContent = found.shop.name;
    part("secret").textContent = found.secret_key;
    part("publishable").textContent = found.publishable_key;
    part("example").textContent =
      "curl '" + base.href + "api/recommendations/' \\\n" +
      "     -H 'Authorization: Bearer " + found.secret_key + "' \\\n" +
      "     -H 'Content-Type: application/json' \\\n" +
      "     -d '{\"prompt\": \"a red dress\", \"number_of_images\": 5}'";
    part("keys").hidden = false;
    part("keys").focus();
  };

  whileBusy(part("activate"), async () => {
    const code = part("token").value.trim().split("#").pop();
    const origins = part("origins").value.split(/[\s,]+/).filter(Boolean).map(originOf);
    show(await post("api/shops/activate/", { token: code, allowed_origins: origins }));
  });

  whileBusy(part("resend"), async () => {
    const found = await post("api/shops/resend/", { email: part("email").value });
    part("sent").textContent = found.message;
    part("sent").hidden = false;
    part("sent").focus();
    part("resend").hidden = true;
  });

  document.querySelectorAll("[data-copies]").forEach((button) => button.addEventListener("click", async () => {
    const code = part(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(code.textContent);
      part("copied").textContent = "Copied.";
    } catch {
      // Browsers refuse the clipboard on pages without TLS.
      getSelection().selectAllChildren(code);
      part("copied").textContent = "Selected; copy it with your browser.";
    }
  }));
})();

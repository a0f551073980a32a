"use strict";
(() => {
  const part = (id) => document.getElementById(id);
  const base = new URL("../", location.href);

  // Out of the address bar and the history: the code is a secret until it is used.
  if (location.hash.length > 1) {
    part("token").value = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
  }

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
    if (!answer.ok) throw Object.assign(new Error(found.detail || "The service did not answer. Try again."), { status: answer.status });
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

  const whileBusy = (form, work) => form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    tell("");
    try {
      await work();
    } catch (error) {
      tell(error.status ? error.message : "The service did not answer. Try again.");
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

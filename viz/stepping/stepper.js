"use strict";
(() => {
  const byId = id => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const last = data.scenes.length;
  const stillness = matchMedia("(prefers-reduced-motion: reduce)");
  let state = 1;

  // ------------------------------------------------------------------ what a state looks like

  const textAt = (changes, k) => {  // [[since, text], ...], in order
    let low = 0, high = changes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (changes[middle][0] <= k) low = middle + 1; else high = middle;
    }
    return low ? changes[low - 1][1] : "-";
  };
  const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const made = (tag, text = "") => {
    const element = document.createElement(tag);
    element.textContent = text;
    return element;
  };

  const here = [];  // the drawn node of each step
  const actors = Object.entries(data.actors).map(([id, actor]) => {
    const box = byId(id);
    for (const k of actor.steps) here[k] = id;
    return {id, box, number: box.querySelector(".gradient"), ...actor};
  });
  const edges = [...document.querySelectorAll(".microgrid .edge")].map(element => {
    const [source, target] = [...element.classList].slice(1, 3);
    return {element, source, target, since: Math.min(...data.actors[target].steps, Infinity)};
  });
  const entries = [...byId("entries").rows].map((row, i) => {
    const [place, grad, goto] = data.ledger[i];
    return {row, place, grad, goto, cell: row.cells[1]};
  });

  const showGraph = k => {
    const fed = new Set(data.fed[k - 1]);
    for (const {id, box, number, grad} of actors) {
      const text = textAt(grad, k);
      if (number.textContent !== text) {
        number.textContent = text;
        hold(number);
      }
      box.classList.toggle("reached", text !== "-");
      box.classList.toggle("here", id === here[k]);
      box.classList.toggle("fed", fed.has(id));
      if (id === here[k]) box.setAttribute("aria-current", "step"); else box.removeAttribute("aria-current");
    }
    for (const {element, source, target, since} of edges) {
      element.classList.toggle("flowed", since <= k);
      element.classList.toggle("flow", target === here[k] && fed.has(source));
    }
  };
  const hold = text => {  // in its place, whatever font draws it
    text.removeAttribute("textLength");
    text.removeAttribute("lengthAdjust");
    if (text.getComputedTextLength() > +text.dataset.room) {
      text.setAttribute("textLength", text.dataset.room);
      text.setAttribute("lengthAdjust", "spacingAndGlyphs");
    }
  };

  let marked = [...document.querySelectorAll("#lines li.here")];
  const showSource = marks => {
    for (const line of marked) {
      const code = line.querySelector("code");
      code.textContent = code.textContent;
      line.classList.remove("here");
    }
    marked = marks.map(([id, begin, end]) => {
      const line = byId(id), code = line.querySelector("code"), text = code.textContent;
      code.replaceChildren(text.slice(0, begin), made("mark", text.slice(begin, end)), text.slice(end));
      line.classList.add("here");
      return line;
    });
    if (marked.length) reveal(byId("lines"), marked[0], marked[marked.length - 1]);
  };

  const showScene = scene => {
    write(byId("title"), scene.title);
    write(byId("rule"), scene.rule);
    write(byId("where"), scene.where);
    write(byId("more"), scene.more);
    byId("given").replaceChildren(...scene.given.map(([letter, what, number]) => {
      const pair = made("div"), told = made("dd");
      told.append(made("span", what), " ", made("b", number));
      pair.append(made("dt", letter), told);
      return pair;
    }));
    byId("rows").replaceChildren(...scene.rows.map(([input, ...cells]) => {
      const row = made("tr"), head = made("th", input);
      head.scope = "row";
      row.append(head, ...cells.map(cell => made("td", cell)));
      return row;
    }));
    byId("told").scrollTop = 0;
  };

  const showLedger = k => {
    const changed = [];
    for (const {row, cell, grad} of entries) {
      const text = textAt(grad, k), now = grad.some(([since]) => since === k);
      write(cell, text);
      row.classList.toggle("changed", now);
      if (now) changed.push(row);
    }
    if (changed.length) reveal(byId("ledger"), changed[0], changed[changed.length - 1]);
  };

  const reveal = (panel, from, to) => {  // scroll the panel, never the page
    const room = panel.getBoundingClientRect();
    const top = from.getBoundingClientRect().top - room.top, bottom = to.getBoundingClientRect().bottom - room.top;
    const mark = from.querySelector("mark")?.getBoundingClientRect();
    if (mark && (mark.left < room.left + 60 || mark.right > room.right)) {
      panel.scrollLeft += Math.min(mark.left - room.left - 60, Math.max(mark.right - room.right + 20, 0))
        || mark.left - room.left - 60;
    }
    if (top >= 34 && bottom <= room.height - 8) return;
    const spare = Math.max(34, (room.height - (bottom - top)) / 2);
    panel.scrollTop += top - spare;
  };

  const show = (k, arrived = false) => {  // arrived: the address says so
    state = Math.min(Math.max(k, 1), last);
    const scene = data.scenes[state - 1];
    write(byId("sentence"), scene.sentence);
    byId("place").firstElementChild.textContent = state.toLocaleString("en");
    const slider = byId("slider");
    slider.value = state;
    slider.setAttribute("aria-valuetext", `Step ${state} of ${last}: ${scene.title}`);
    for (const id of ["first", "back"]) byId(id).setAttribute("aria-disabled", state === 1);
    for (const id of ["step", "last"]) byId(id).setAttribute("aria-disabled", state === last);
    showGraph(state);
    showSource(scene.marks);
    showScene(scene);
    showLedger(state);
    bring([here[state], ...data.fed[state - 1]], arrived ? jump : glide);
    clearTimeout(waiting);
    if (!arrived) waiting = setTimeout(address, 150);
  };

  // ------------------------------------------------------------------ the address

  // A rest of a moment makes an entry of the history, so that browsers, which limit them, can keep up with a held key.
  let waiting = 0;
  const address = () => {
    if (location.hash === `#${state}` || (state === 1 && !location.hash)) return;
    try { history.pushState(null, "", `#${state}`); } catch { /* a page within a page has no address */ }
  };
  const addressed = () => {
    const given = /^#(\d{1,6})$/.exec(location.hash);
    return given && +given[1] >= 1 ? +given[1] : location.hash ? state : 1;
  };
  const arrive = () => { if (Math.min(addressed(), last) !== state) show(addressed(), true); };
  addEventListener("hashchange", arrive);
  addEventListener("popstate", arrive);

  // ------------------------------------------------------------------ moving

  const moves = {first: () => 1, back: () => state - 1, step: () => state + 1, last: () => last};
  for (const [id, to] of Object.entries(moves)) byId(id).addEventListener("click", () => show(to()));
  byId("slider").addEventListener("input", event => show(+event.target.value));

  const keys = {ArrowRight: "step", ArrowLeft: "back", Home: "first", End: "last"};
  addEventListener("keydown", event => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const pan = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (event.shiftKey && pan) {
      look(view.x + pan[0] * 60 / view.scale, view.y + pan[1] * 60 / view.scale, view.scale);
    } else if (!event.shiftKey && event.key in keys) {
      show(moves[keys[event.key]]());
    } else if (event.key === "+" || event.key === "=") {
      zoom(1.25);
    } else if (event.key === "-") {
      zoom(1 / 1.25);
    } else if (event.key === "0") {
      fit();
    } else {
      return;
    }
    event.preventDefault();
  });

  const choose = goto => { if (goto) show(goto); };
  for (const {box, goto} of actors) {
    box.addEventListener("click", () => { if (!dragged) choose(goto); });
    box.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(goto);
    });
  }
  for (const {row, goto} of entries) row.querySelector("button").addEventListener("click", () => choose(goto));

  // ------------------------------------------------------------------ pan and zoom

  const viewport = byId("viewport"), picture = viewport.firstElementChild;
  const size = {width: +picture.getAttribute("width"), height: +picture.getAttribute("height")};
  const view = {x: 0, y: 0, scale: 1};  // the upper left corner, in the picture's units; pixels for each of them
  let motion = 0, dragged = false;

  const draw = () => picture.setAttribute("viewBox",
    `${view.x} ${view.y} ${viewport.clientWidth / view.scale} ${viewport.clientHeight / view.scale}`);
  const look = (x, y, scale) => {
    cancelAnimationFrame(motion);
    const wide = viewport.clientWidth / scale, high = viewport.clientHeight / scale;
    const within = (at, length, room) => room >= length ? (length - room) / 2 : Math.min(Math.max(at, 0), length - room);
    Object.assign(view, {x: within(x, size.width, wide), y: within(y, size.height, high), scale});
    draw();
  };
  const jump = (x, y) => look(x, y, view.scale);
  const glide = (x, y) => {
    if (stillness.matches) { jump(x, y); return; }
    const {x: x0, y: y0} = view, begun = performance.now();
    cancelAnimationFrame(motion);
    const frame = now => {
      const t = Math.min((now - begun) / 220, 1), eased = t * (2 - t);
      look(x0 + (x - x0) * eased, y0 + (y - y0) * eased, view.scale);
      if (t < 1) motion = requestAnimationFrame(frame);
    };
    motion = requestAnimationFrame(frame);
  };
  const fitting = () => Math.min(viewport.clientWidth / size.width, viewport.clientHeight / size.height);
  const fit = () => look(0, 0, Math.min(fitting(), 1.6));
  const zoom = (factor, at = [viewport.clientWidth / 2, viewport.clientHeight / 2]) => {
    const scale = Math.min(Math.max(view.scale * factor, Math.min(fitting(), 0.2)), 5);
    look(view.x + at[0] / view.scale - at[0] / scale, view.y + at[1] / view.scale - at[1] / scale, scale);
  };
  const bring = (ids, move) => {  // the first, and the others if they fit, into view
    const boxes = ids.map(id => byId(id).getBBox()), edge = 14;
    const wide = viewport.clientWidth / view.scale, high = viewport.clientHeight / view.scale;
    const around = list => ({
      left: Math.min(...list.map(b => b.x)) - edge, right: Math.max(...list.map(b => b.x + b.width)) + edge,
      top: Math.min(...list.map(b => b.y)) - edge, bottom: Math.max(...list.map(b => b.y + b.height)) + edge,
    });
    let want = around(boxes);
    if (want.right - want.left > wide || want.bottom - want.top > high) want = around(boxes.slice(0, 1));
    const moved = (at, room, from, to) => from < at || to > at + room ? (from + to - room) / 2 : at;
    const x = moved(view.x, wide, want.left, want.right), y = moved(view.y, high, want.top, want.bottom);
    if (x !== view.x || y !== view.y) move(x, y);
  };
  for (const {id, box} of actors) {
    box.addEventListener("focus", () => { if (box.matches(":focus-visible")) bring([id], glide); });
  }

  byId("in").addEventListener("click", () => zoom(1.25));
  byId("out").addEventListener("click", () => zoom(1 / 1.25));
  byId("fit").addEventListener("click", fit);
  viewport.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const room = viewport.getBoundingClientRect();
    zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 240), [event.clientX - room.left, event.clientY - room.top]);
  }, {passive: false});

  const fingers = new Map();
  viewport.addEventListener("pointerdown", event => {
    if (event.button) return;
    if (!fingers.size) dragged = false;
    fingers.set(event.pointerId, [event.clientX, event.clientY, event.clientX, event.clientY]);
  });
  addEventListener("pointermove", event => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    const [x, y, x0, y0] = finger, now = [event.clientX, event.clientY];
    if (!dragged && Math.hypot(now[0] - x0, now[1] - y0) < 5) return;
    if (!dragged) {
      dragged = true;
      viewport.classList.add("dragged");
    }
    const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (others.length) {  // two fingers
      const [other] = others, room = viewport.getBoundingClientRect();
      const apart = Math.hypot(x - other[0], y - other[1]) || 1;
      const middle = [(now[0] + other[0]) / 2 - room.left, (now[1] + other[1]) / 2 - room.top];
      zoom(Math.hypot(now[0] - other[0], now[1] - other[1]) / apart, middle);
    } else {
      look(view.x - (now[0] - x) / view.scale, view.y - (now[1] - y) / view.scale, view.scale);
    }
    fingers.set(event.pointerId, [...now, x0, y0]);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    addEventListener(end, event => {
      fingers.delete(event.pointerId);
      viewport.classList.remove("dragged");
    });
  }
  new ResizeObserver(() => {
    if (view.scale <= fitting() * 1.01) fit(); else look(view.x, view.y, view.scale);
  }).observe(viewport);

  // ------------------------------------------------------------------ the beginning

  for (const id of ["controls", "zoom"]) byId(id).hidden = false;
  document.querySelector("footer").hidden = false;
  document.body.classList.add("live");
  if (fitting() >= 0.85) fit(); else look(size.width, size.height / 2, 1);  // as large as other text
  show(addressed(), true);
})();

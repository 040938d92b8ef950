(function () {
  "use strict";
  var table = document.getElementById("table");
  var bodies = Array.prototype.slice.call(table.tBodies);
  var texts = bodies.map(function (body) { return body.textContent.toLowerCase(); });
  var filter = document.getElementById("filter");
  var status = document.getElementById("status");
  var shown = document.getElementById("shown");
  function apply() {
    var words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    var count = 0;
    bodies.forEach(function (body, place) {
      var fits = (status.value === "all" || body.dataset.status === status.value) &&
        words.every(function (word) { return texts[place].indexOf(word) >= 0; });
      body.hidden = !fits;
      count += fits ? 1 : 0;
    });
    shown.textContent = count + " of " + bodies.length + " callers";
  }
  if (!bodies.some(function (body) { return body.dataset.status === "in-the-way"; })) {
    status.value = "all";
  }
  filter.addEventListener("input", apply);
  status.addEventListener("change", apply);
  apply();
  table.querySelectorAll("thead button").forEach(function (button) {
    button.addEventListener("click", function () {
      var heading = button.parentElement;
      var isNumber = button.hasAttribute("data-number");
      var first = isNumber ? "descending" : "ascending";
      var other = isNumber ? "ascending" : "descending";
      var order = heading.getAttribute("aria-sort") === first ? other : first;
      table.querySelectorAll("thead th").forEach(function (th) { th.setAttribute("aria-sort", "none"); });
      heading.setAttribute("aria-sort", order);
      var sign = order === "ascending" ? 1 : -1;
      var key = Number(button.dataset.key);
      bodies.slice().sort(function (a, b) {
        var x = value(a.rows[0].cells[key]), y = value(b.rows[0].cells[key]);
        return sign * (isNumber ? Number(x) - Number(y) : x.localeCompare(y));
      }).forEach(function (body) { table.appendChild(body); });
    });
  });
  function value(cell) { return cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent.trim(); }
  document.querySelectorAll(".copy").forEach(function (button) {
    button.addEventListener("click", function () {
      var pre = button.parentElement.querySelector("pre");
      function done() {
        button.firstChild.textContent = "Copied";
        setTimeout(function () { button.firstChild.textContent = "Copy"; }, 1500);
      }
      function select() {
        var range = document.createRange();
        range.selectNodeContents(pre);
        var selection = getSelection();
        selection.removeAllRanges();
        selection.addRange(range);
        try { if (document.execCommand("copy")) { done(); } } catch (error) { /* it stays selected */ }
      }
      if (navigator.clipboard && window.isSecureContext) {
        navigator.clipboard.writeText(pre.textContent).then(done, select);
      } else { select(); }
    });
  });
}());

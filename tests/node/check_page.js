// Looks at the report's page in a browser: accessibility, requests, sorting, filtering, copying.
// Arguments: the browser, the page, a folder for screenshots.
"use strict";

const fs = require("fs");
const path = require("path");
const { chromium } = require("playwright-core");

const [executablePath, page_path, shots] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

function assert(condition, text) {
  if (!condition) {
    throw new Error(text);
  }
}

async function look(browser, colorScheme) {
  const context = await browser.newContext({ colorScheme, viewport: { width: 1250, height: 1000 } });
  const page = await context.newPage();
  const asked = [];
  const errors = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("dialog", (dialog) => { errors.push("a dialog"); dialog.dismiss(); });
  await page.goto("file://" + page_path);
  // A browser cannot draw the page of a fleet at once.
  const fullPage = (await page.$eval("html", (html) => html.scrollHeight)) < 16000;
  await page.screenshot({ path: path.join(shots, colorScheme + ".png"), fullPage });

  // The policy of the page forbids what is not its own, so the checker goes in as the debugger's.
  const session = await context.newCDPSession(page);
  const evaluate = async (expression) => {
    const answer = await session.send("Runtime.evaluate", {
      expression, awaitPromise: true, returnByValue: true, allowUnsafeEvalBlockedByCSP: true,
    });
    assert(!answer.exceptionDetails, JSON.stringify(answer.exceptionDetails));
    return answer.result.value;
  };
  await evaluate(axe);
  const violations = await evaluate(
    "axe.run().then((r) => r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.target).join(' ')))");
  assert(violations.length === 0, colorScheme + ": " + violations.join("\n"));

  const rows = () => page.$$eval("#table tbody:not([hidden]) th[scope=row] code", (all) => all.map((e) => e.textContent));
  await page.selectOption("#status", "all");
  const all = await rows();
  assert(all.length >= 3, "callers: " + all.join(", "));
  await page.fill("#filter", all[1].split(" ")[0]);
  const some = await rows();
  assert(some.includes(all[1]) && some.length < all.length, "filtered: " + some.join(", "));
  await page.fill("#filter", "");
  for (const [name, isNumber] of [["Requests", true], ["Caller", false]]) {
    for (const order of isNumber ? ["descending", "ascending"] : ["ascending", "descending"]) {
      // By keyboard.
      await page.getByRole("button", { name, exact: true }).focus();
      await page.keyboard.press("Enter");
      const sorted = await page.$$eval("th[aria-sort=" + order + "]", (e) => e.length);
      assert(sorted === 1, name + " is not sorted " + order);
      const cells = await page.$$eval("#table tbody", (bodies, numbers) => bodies.map((body) =>
        numbers ? Number(body.rows[0].cells[3].dataset.value) : body.rows[0].cells[0].textContent.trim()), isNumber);
      const copy = cells.slice().sort(isNumber ? (a, b) => a - b : (a, b) => a.localeCompare(b));
      if (order === "descending") copy.reverse();
      assert(JSON.stringify(cells) === JSON.stringify(copy), name + " " + order + ": " + cells);
    }
  }
  await page.locator(".copy").first().click();
  await page.getByText("Copied").first().waitFor();
  assert(asked.length === 1, "the page asked for " + asked.join(", "));
  assert(errors.length === 0, errors.join(", "));
  await context.close();
}

(async () => {
  const browser = await chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  try {
    await look(browser, "light");
    await look(browser, "dark");
  } finally {
    await browser.close();
  }
  console.log("ok");
})().catch((error) => {
  console.error(error);
  process.exit(1);
});

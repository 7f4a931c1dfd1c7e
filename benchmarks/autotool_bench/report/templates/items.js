"use strict";
// Filters the items of each list by text, verdict and category.
for (const list of document.querySelectorAll(".items")) {
  const [search, verdict, category] = ["search", "verdict", "category"].map((name) => list.querySelector(`[name=${name}]`));
  const items = [...list.querySelectorAll(".item")];
  const texts = items.map((item) => item.textContent.toLowerCase());
  const attempts = items.map((item) => [...item.querySelectorAll(".attempt")].map((attempt) => attempt.dataset));

  const hasVerdict = (found) => {
    const solved = found.filter((attempt) => attempt.verdict === "solved").length;
    if (verdict.value === "") return true;
    if (verdict.value === "differ") return solved > 0 && solved < found.length;
    if (verdict.value === "none") return solved === 0;
    const [wanted, series] = verdict.value.split(" ");
    return found.some((attempt) => attempt.series === series && (attempt.verdict === "solved") === (wanted === "solved"));
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/);
    let shown = 0;
    items.forEach((item, index) => {
      const takes =
        words.every((word) => texts[index].includes(word)) &&
        (category.value === "" || item.dataset.category === category.value) &&
        hasVerdict(attempts[index]);
      item.hidden = !takes;
      shown += takes;
    });
    list.querySelector("output").textContent = `${shown} of ${items.length} shown`;
  };

  list.querySelector(".filters").hidden = false;
  list.addEventListener("input", filter);
  filter();
}

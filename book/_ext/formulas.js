// Draws the formulas that come in as JSON, [[tex, display], …]. Out goes {"drawn": [html, …], "glyphs": svg}: what the
// formulas refer to is defined once for all of them.
const mathjax = require("mathjax/es5/node-main.js");

mathjax
  .init({
    loader: { load: ["input/tex-full", "output/svg", "adaptors/liteDOM"], versionWarnings: false },
    tex: { formatError: (_, error) => { throw error; } },
    svg: { fontCache: "global" },
    startup: { typeset: false },
  })
  .then((MathJax) => {
    const { adaptor, output } = MathJax.startup;
    const draw = ([tex, display]) => {
      const drawn = MathJax.tex2svg(tex, { display });
      // Whoever looks sees the strokes, whoever listens hears the words.
      adaptor.setAttribute(adaptor.firstChild(drawn), "aria-hidden", "true");
      const spoken = MathJax.tex2mml(tex, { display }).replace(/\n\s*/g, "");
      return adaptor.outerHTML(drawn).replace(/<\/mjx-container>$/, `<mjx-assistive-mml>${spoken}</mjx-assistive-mml>$&`);
    };
    const asked = JSON.parse(require("fs").readFileSync(0, "utf-8"));
    const drawn = asked.map(draw);
    console.log(JSON.stringify({ drawn, glyphs: adaptor.outerHTML(output.fontCache.getCache()) }));
  })
  .catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });

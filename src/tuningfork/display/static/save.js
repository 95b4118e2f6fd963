// Rows of a page as a file: CSV or VOTable, made in the browser.
import { element } from "./dom.js";

/** Save rows; `columns` are {name, number, cell(row)} with texts or numbers, "" where blank. */
export function saveTable(rows, columns, format, name) {
  const [content, type, extension] = format === "VOTable" ? [votable(rows, columns), "application/x-votable+xml", "vot"] : [csv(rows, columns), "text/csv", "csv"];
  const address = URL.createObjectURL(new Blob([content], { type }));
  element("a", { href: address, download: `${name}.${extension}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function csv(rows, columns) {
  const cell = (value) => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = rows.map((row) => columns.map((column) => cell(column.cell(row))).join(","));
  return [columns.map((column) => cell(column.name)).join(","), ...lines, ""].join("\r\n");
}

function votable(rows, columns) {
  // Characters that XML does not have are left out.
  const clean = (text) => String(text).replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "");
  const escape = (text) => clean(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
  const fields = columns.map(({ name, number }) => `<FIELD name="${escape(name)}" ${number ? 'datatype="double"' : 'datatype="unicodeChar" arraysize="*"'}/>`);
  const lines = rows.map((row) => `<TR>${columns.map((column) => `<TD>${escape(column.cell(row))}</TD>`).join("")}</TR>`);
  return `<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
${fields.join("\n")}
<DATA><TABLEDATA>
${lines.join("\n")}
</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>
`;
}

/* html.c - the style is plain: one column of cards, two where the window is wide; colours are variables, given once for
 * light and once for dark. Series and marks differ in more than their colour. */
#include "html.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const style[] = {
    ":root{color-scheme:light dark;--page:#f6f5f2;--card:#fff;--ink:#21262c;--soft:#626b75;--line:#e2dfd8;",
    "--one:#2f6db3;--two:#c2571a;--right:47,109,179;--wrong:194,87,26;--on:#fff}",
    "@media(prefers-color-scheme:dark){:root{--page:#15171a;--card:#1d2024;--ink:#e4e4e0;--soft:#9aa2ab;",
    "--line:#343940;--one:#74aee8;--two:#eb9a5b;--right:96,158,222;--wrong:226,138,74;--on:#101214}}",
    "*{box-sizing:border-box}",
    "body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,'Segoe UI',Roboto,",
    "'Helvetica Neue',Arial,'Liberation Sans',sans-serif;font-variant-numeric:tabular-nums}",
    "main{max-width:1120px;margin:0 auto;padding:36px 20px 28px}",
    "h1{font-size:27px;line-height:1.25;font-weight:650;letter-spacing:-.01em;margin:0;overflow-wrap:anywhere}",
    "h2{font-size:16px;font-weight:650;margin:0 0 2px}",
    "p{margin:0}.soft,caption,footer{color:var(--soft)}.note{color:var(--soft);font-size:13px;margin:0 0 12px}",
    "code{font:13px/1.5 ui-monospace,'SF Mono',Menlo,Consolas,'Liberation Mono',monospace;overflow-wrap:anywhere}",
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:22px 0 16px}",
    ".tile,.card{background:var(--card);border:1px solid var(--line);border-radius:8px}",
    ".tile{padding:12px 14px}.tile b{display:block;font-size:20px;line-height:1.4;font-weight:600;white-space:nowrap}",
    ".tile span{color:var(--soft);font-size:13px}",
    ".cards{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:16px;align-items:start}",
    ".card{padding:18px 20px;margin:0 0 16px;min-width:0;overflow-x:auto}.cards>.card{margin:0}.cards{margin:0 0 16px}",
    ".stack{display:grid;gap:16px;min-width:0}.stack>.card{margin:0}",
    "@media(max-width:820px){.cards{grid-template-columns:minmax(0,1fr)}}",
    "svg{display:block;width:100%;height:auto;overflow:visible}",
    "svg text{font:12px system-ui,'Segoe UI',Roboto,Arial,'Liberation Sans',sans-serif;fill:var(--soft);",
    "font-variant-numeric:tabular-nums}svg .name{fill:var(--ink)}svg .on{fill:var(--on)}",
    ".grid{stroke:var(--line);fill:none}.axis{stroke:var(--soft);fill:none}",
    ".mark{stroke:var(--soft);stroke-dasharray:2 4;fill:none}",
    ".s0,.s1{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}",
    ".s0{stroke:var(--one);stroke-dasharray:6 4}",
    ".s1{stroke:var(--two)}.d0{fill:var(--one)}.d1{fill:var(--two)}.cloud{fill:var(--one);fill-opacity:.45}",
    ".legend{display:flex;flex-wrap:wrap;gap:4px 22px;font-size:13px;color:var(--soft);margin:0 0 8px}",
    ".legend svg{display:inline-block;width:26px;height:10px;margin:0 7px 0 0}",
    ".legend b{color:var(--ink);font-weight:600}",
    ".right{fill:rgb(var(--right))}.wrong{fill:rgb(var(--wrong))}",
    ".scroll{overflow:auto;max-height:720px}",
    "table{border-collapse:collapse;width:100%}th,td{padding:5px 0 5px 11px;text-align:left;vertical-align:top;",
    "border-bottom:1px solid var(--line)}th:first-child,td:first-child{padding-left:0}",
    "tr:last-child td,tr:last-child th{border-bottom:0}",
    "th{font-weight:500;font-size:13px;color:var(--soft);background:var(--card);position:sticky;top:0}",
    "td{overflow-wrap:break-word}.n{text-align:right;white-space:nowrap}",
    "th[scope=row]{position:static;white-space:nowrap;",
    "font-size:inherit;width:1%}tr.sum td{font-weight:600;border-top:1px solid var(--soft)}",
    ".bar{width:64px;min-width:64px}",
    ".bar i{display:block;height:6px;margin-top:9px;border-radius:3px;background:var(--one)}",
    ".pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(118px,1fr));gap:18px 14px}",
    ".pictures figure{margin:0;min-width:0;font-size:13px;line-height:1.4}",
    ".pictures img{display:block;width:100%;height:auto;aspect-ratio:1;object-fit:contain;",
    "border-radius:6px;background:#000;border:1px solid var(--line);margin:0 0 6px}",
    ".pictures .px{image-rendering:pixelated}",
    ".pictures figcaption{overflow-wrap:anywhere}.pictures figcaption b{font-weight:600}",
    "footer{font-size:13px;margin-top:6px}",
    "@media print{body{background:none}.scroll{max-height:none}.card,.tile{break-inside:avoid}}",
};

void html_begin(FILE *to, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>", to);
    html_text(to, title);
    fputs("</title>\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\""
          "default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
          "<style>\n", to);
    for (size_t i = 0; i < sizeof style / sizeof style[0]; i++) fprintf(to, "%s\n", style[i]);
    fputs("</style>\n</head>\n<body>\n<main>\n", to);
}

void html_end(FILE *to) { fputs("</main>\n</body>\n</html>\n", to); }

void html_short(FILE *to, const char *text, int most)
{
    const char *at = text, *const end = text + strlen(text), *fault = clg_utf8_fault(at, (size_t)(end - at));
    for (int count = 1; at < end; count++) {
        const unsigned char c = (unsigned char)*at;
        const size_t        bytes = at == fault || c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if (count == most && at + bytes < end) {
            fputs("…", to);
            return;
        }
        if (at == fault) fault = clg_utf8_fault(at + 1, (size_t)(end - at - 1)), fputs("\xef\xbf\xbd", to);
        else if (c == 0x7f || (c < ' ' && c != '\n' && c != '\t')) fputs("\xef\xbf\xbd", to);
        else if (c == '<') fputs("&lt;", to);
        else if (c == '>') fputs("&gt;", to);
        else if (c == '&') fputs("&amp;", to);
        else if (c == '"') fputs("&quot;", to);
        else if (c == '\'') fputs("&#39;", to);
        else fwrite(at, 1, bytes, to);
        at += bytes;
    }
}

void html_text(FILE *to, const char *text) { html_short(to, text, 0); }

void html_fact(FILE *to, const char *name, const char *format, ...)
{
    char    text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(to, "<tr><th scope=\"row\">%s</th><td>", name);
    html_text(to, text);
    fputs("</td></tr>\n", to);
}

static void base64(FILE *to, const uint8_t *bytes, size_t size)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        const bool     second = i + 1 < size, third = i + 2 < size;
        const unsigned b = second ? bytes[i + 1] : 0, c = third ? bytes[i + 2] : 0,
                       all = (unsigned)bytes[i] << 16 | b << 8 | c;
        fprintf(to, "%c%c%c%c", digit[all >> 18], digit[all >> 12 & 63], second ? digit[all >> 6 & 63] : '=',
                third ? digit[all & 63] : '=');
    }
}

clg_status html_picture(FILE *to, clg_context *ctx, clg_shape shape, const uint8_t *pixels)
{
    uint8_t         *bytes = NULL;
    size_t           size = 0;
    const clg_status status = clg_image_encode(ctx, shape, pixels, &bytes, &size);
    fputs("data:image/png;base64,", to);
    if (!status) base64(to, bytes, size);
    free(bytes);
    return status;
}

/* html.h - one page that needs no other: a style for light and dark, text that a user wrote, pictures as data. */
#ifndef HTML_H
#define HTML_H

#include <clgrad/clgrad.h>
#include <stdio.h>

/* The page until its body; it is told to load nothing. */
void html_begin(FILE *to, const char *title);
void html_end(FILE *to);

/* A text with <, >, &, quotes and what is not UTF-8 replaced. */
void html_text(FILE *to, const char *text);

/* Likewise, no longer than `most` characters, the last one then an ellipsis. */
void html_short(FILE *to, const char *text, int most);

/* A row of a table: a name and what is said of it, which is escaped. */
void html_fact(FILE *to, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The picture's address as a data: URI; the status of making its PNG. */
clg_status html_picture(FILE *to, clg_context *ctx, clg_shape shape, const uint8_t *pixels);

#endif

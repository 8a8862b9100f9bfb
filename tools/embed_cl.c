/* embed_cl.c - embed_cl OUT IN...: writes a C file that defines clg__embedded (src/device/embedded.h), one entry for
 * each file, named without folder and ".cl".
 *
 * The texts are arrays of characters, since C compilers need not take string literals of more than 4095. */
#include <stdio.h>
#include <string.h>

static int fail(FILE *out, const char *out_path, const char *path)
{
    perror(path);
    if (out) {
        fclose(out);
        remove(out_path);
    }
    return 1;
}

static int embed(FILE *out, FILE *in, int index)
{
    int column = 0, c;
    fprintf(out, "static const char text_%d[] = {\n", index);
    while ((c = fgetc(in)) != EOF) {
        const int newline = c == '\n', escaped = c == '\'' || c == '\\';
        if (newline) column += fprintf(out, "'\\n',");
        else if (c < ' ' || c > '~') column += fprintf(out, "'\\x%02x',", (unsigned)c);
        else column += fprintf(out, "'%s%c',", escaped ? "\\" : "", c);
        if (newline || column > 110) {
            fputc('\n', out);
            column = 0;
        }
    }
    fprintf(out, "0};\n\n");
    return ferror(in) || ferror(out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: embed_cl OUT IN...\n");
        return 2;
    }
    FILE *out = fopen(argv[1], "w");
    if (!out) return fail(NULL, NULL, argv[1]);
    fprintf(out, "#include \"device/embedded.h\"\n#include <stddef.h>\n\n");
    for (int i = 2; i < argc; i++) {
        FILE *in = fopen(argv[i], "rb");
        if (!in) return fail(out, argv[1], argv[i]);
        const int bad = embed(out, in, i);
        fclose(in);
        if (bad) return fail(out, argv[1], argv[i]);
    }
    fprintf(out, "const struct clg__embedded clg__embedded[] = {\n");
    for (int i = 2; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/'), *name = slash ? slash + 1 : argv[i], *dot = strrchr(name, '.');
        fprintf(out, "    {\"%.*s\", text_%d},\n", dot ? (int)(dot - name) : (int)strlen(name), name, i);
    }
    fprintf(out, "    {NULL, NULL},\n};\n");
    const int bad = ferror(out);
    if (fclose(out) || bad) return fail(NULL, NULL, argv[1]);
    return 0;
}

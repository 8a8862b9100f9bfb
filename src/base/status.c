/* status.c - status codes in words, and the library's version. */
#include "base/base.h"

const char *clg_status_text(clg_status status)
{
    static const char *const texts[] = {
#define TEXT(code, text) text,
        CLG_STATUS_TABLE(TEXT)
#undef TEXT
    };
    const size_t i = (size_t)status;
    return i < CLG__COUNT(texts) ? texts[i] : "unknown status";
}

const char *clg_version(void)
{
    return CLG_VERSION;
}

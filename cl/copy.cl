/* copy.cl - y[i] = x[i]; a group takes chunks of `chunk` elements in turn. */
KERNEL copy(TENSOR(x), TENSOR(y), const ulong count, const uint chunk CLAIMS)
{
    x += x_at, y += y_at;
    EACH_UNIT(u, (uint)((count + chunk - 1) / chunk)) {
        const ulong at = (ulong)u * chunk;
        const uint n = (uint)min((ulong)chunk, count - at);
        EACH_VEC(i, n) VPUT(VLOAD(x + at + i), y + at + i);
        EACH_TAIL(i, n) y[at + i] = x[at + i];
    }
}

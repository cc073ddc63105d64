/* Question: do abort() and a signal the program sends itself end it by that signal?
 *
 * Without an argument it aborts. With a number it raises that signal, whose action is the
 * default one.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("before\n");
    if (argc > 1)
        raise(atoi(argv[1]));
    else
        abort();
    printf("survived\n");
    return 0;
}

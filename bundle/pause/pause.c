/* pause: holds a pod's namespaces. It is process 1 of the sandbox: it reaps what is orphaned there, and ends at once
 * on SIGTERM or SIGINT, which is what stopping a pod sends. */
#include <signal.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "unknown"
#endif

static void leave(int signal) {
    (void)signal;
    _exit(0);
}

static void reap(int signal) {
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "-v") == 0) {
        static const char text[] = "pause " VERSION "\n";
        return write(STDOUT_FILENO, text, sizeof text - 1) < 0;
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = leave;
    if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0)
        return 1;
    action.sa_handler = reap;
    action.sa_flags = SA_NOCLDSTOP | SA_RESTART;
    if (sigaction(SIGCHLD, &action, NULL) < 0)
        return 1;
    for (;;)
        pause();
}

/* The floor: an inotify watch and kill(2), and nothing else. floor PID DIRECTORY... */
#include <signal.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char events[4096];
    int queue = inotify_init();

    for (int i = 2; i < argc; i++)
        if (inotify_add_watch(queue, argv[i], IN_MOVED_TO) < 0)
            return 1;
    while (read(queue, events, sizeof events) > 0)
        kill(atoi(argv[1]), SIGHUP);
    return 1;
}

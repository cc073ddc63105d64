<?php
// Processes, signals, and what they share, one after the other; each prints the same every time.

// Children, and what they leave.
$children = [];
for ($i = 0; $i < 5; $i++) {
    $pid = pcntl_fork();
    if ($pid === 0) {
        exit($i);
    }
    $children[$pid] = $i;
}
$right = 0;
while (($pid = pcntl_wait($status)) > 0) {
    $right += pcntl_wifexited($status) && pcntl_wexitstatus($status) === $children[$pid];
}
echo "children $right\n";

// A child that is killed.
$pid = pcntl_fork();
if ($pid === 0) {
    sleep(1000);
}
posix_kill($pid, SIGTERM);
pcntl_waitpid($pid, $status);
echo 'killed by ', pcntl_wtermsig($status), "\n";

// Handlers, masks and waits for signals.
pcntl_async_signals(true);
$seen = [];
pcntl_signal(SIGUSR1, function (int $signal, array $info) use (&$seen) {
    $seen[] = $signal . ($info['pid'] === getmypid() ? ' of mine' : '');
});
for ($i = 0; $i < 100; $i++) {
    posix_kill(getmypid(), SIGUSR1);
}
echo count($seen), ' ', $seen[0], "\n";
pcntl_sigprocmask(SIG_BLOCK, [SIGUSR2]);
posix_kill(getmypid(), SIGUSR2);
echo 'waited for ', pcntl_sigwaitinfo([SIGUSR2], $info), "\n";
echo 'nothing more: ', var_export(@pcntl_sigtimedwait([SIGUSR2], $info, 0, 50_000_000), true), "\n";
pcntl_signal(SIGALRM, function () use (&$seen) { $seen[] = 'alarm'; });
pcntl_alarm(1);
$begin = hrtime(true);
while (end($seen) !== 'alarm' && hrtime(true) - $begin < 20e9) {
    usleep(100_000);
}
echo end($seen), "\n";

// System V: a semaphore around a shared number, and a queue.
$key = ftok(__FILE__, 'k');
$semaphore = sem_get($key);
$memory = shm_attach($key, 1000);
shm_put_var($memory, 1, 0);
$queue = msg_get_queue($key);
for ($child = 0; $child < 4; $child++) {
    if (pcntl_fork() === 0) {
        for ($i = 0; $i < 50; $i++) {
            sem_acquire($semaphore);
            shm_put_var($memory, 1, shm_get_var($memory, 1) + 1);
            sem_release($semaphore);
        }
        msg_send($queue, 1, "from $child");
        exit(0);
    }
}
while (pcntl_wait($status) > 0) {
}
echo 'counted ', shm_get_var($memory, 1), "\n";
$told = [];
for ($child = 0; $child < 4; $child++) {
    msg_receive($queue, 0, $type, 100, $message);
    $told[] = $message;
}
sort($told);
echo implode(', ', $told), "\n";
shm_remove($memory);
sem_remove($semaphore);
msg_remove_queue($queue);

// Pipes to a program and back, and a pair of sockets to a child.
$process = proc_open(['tr', 'a-z', 'A-Z'], [['pipe', 'r'], ['pipe', 'w']], $pipes);
fwrite($pipes[0], str_repeat("words\n", 10000));
fclose($pipes[0]);
echo sha1(stream_get_contents($pipes[1])), ' ', proc_close($process), "\n";
socket_create_pair(AF_UNIX, SOCK_STREAM, 0, $pair);
if (pcntl_fork() === 0) {
    socket_write($pair[0], strrev(socket_read($pair[0], 100)));
    exit(0);
}
socket_write($pair[1], 'backwards');
echo socket_read($pair[1], 100), "\n";
pcntl_wait($status);

// A program in this one's place.
pcntl_exec('/bin/sh', ['-c', 'echo executed $WITH'], ['WITH' => 'an environment']);

<?php
// Answers requests of the suite "php", by what their query says.

$what = $_GET['what'] ?? 'hello';
switch ($what) {
    case 'hello':
        echo 'hello from ', PHP_SAPI, "\n";
        break;
    case 'pid':
        echo getmypid(), "\n";
        break;
    case 'body':
        echo sha1(file_get_contents('php://input')), "\n";
        break;
    case 'upload':
        echo $_FILES['file']['size'], ' ', sha1_file($_FILES['file']['tmp_name']), "\n";
        break;
    case 'session':
        session_start();
        $_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
        echo $_SESSION['count'], "\n";
        break;
    case 'count':
        // A number in a file, under a lock: each request must add its own.
        $file = fopen('/work/count', 'c+');
        flock($file, LOCK_EX);
        $count = (int) stream_get_contents($file) + 1;
        rewind($file);
        fwrite($file, (string) $count);
        fflush($file);
        flock($file, LOCK_UN);
        echo $count, "\n";
        break;
    case 'large':
        for ($i = 0; $i < 2000; $i++) {
            echo str_repeat(chr(97 + $i % 26), 1000);
        }
        break;
    case 'memory':
        str_repeat('x', 1 << 30);
        break;
    case 'child':
        passthru('echo $((6 * 7)); exit 3', $status);
        echo $status, "\n";
        break;
    case 'sleep':
        sleep((int) $_GET['seconds']);
        echo "slept\n";
        break;
    case 'spin':
        while (true) {
        }
    case 'cached':
        $status = opcache_get_status(false);
        echo $status['opcache_enabled'] ? 'cached' : 'not cached', "\n";
        break;
    case 'die':
        posix_kill(getmypid(), (int) $_GET['signal']);
        break;
}

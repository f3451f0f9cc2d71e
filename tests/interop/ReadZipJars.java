import java.io.File;
import java.io.InputStream;
import java.io.PrintStream;
import java.util.Enumeration;
import java.util.zip.CRC32;
import net.lingala.zip4j.io.inputstream.ZipInputStream;
import net.lingala.zip4j.model.FileHeader;
import net.lingala.zip4j.model.LocalFileHeader;
import org.apache.commons.compress.archivers.zip.ZipArchiveEntry;
import org.apache.commons.compress.archivers.zip.ZipArchiveInputStream;
import org.apache.commons.compress.archivers.zip.ZipFile;

/** Reads every member of an archive with commons-compress or zip4j, from a file or from standard input. */
public final class ReadZipJars {
    public static void main(String[] arguments) throws Exception {
        boolean isFile = arguments.length > 1;
        switch (arguments[0] + (isFile ? " file" : " pipe")) {
            case "commons-compress file":
                try (ZipFile archive = new ZipFile(new File(arguments[1]))) {
                    for (Enumeration<ZipArchiveEntry> entries = archive.getEntries(); entries.hasMoreElements();) {
                        ZipArchiveEntry entry = entries.nextElement();
                        print(entry.getName(), archive.getInputStream(entry));
                    }
                }
                break;
            case "commons-compress pipe":
                try (ZipArchiveInputStream archive = new ZipArchiveInputStream(System.in)) {
                    ZipArchiveEntry entry;
                    while ((entry = archive.getNextZipEntry()) != null) {
                        if (!archive.canReadEntryData(entry)) {
                            throw new Exception("cannot read " + entry.getName());
                        }
                        print(entry.getName(), archive);
                    }
                }
                break;
            case "zip4j file":
                net.lingala.zip4j.ZipFile archive = new net.lingala.zip4j.ZipFile(arguments[1]);
                for (FileHeader entry : archive.getFileHeaders()) {
                    print(entry.getFileName(), archive.getInputStream(entry));
                }
                break;
            default:
                try (ZipInputStream stream = new ZipInputStream(System.in)) {
                    for (LocalFileHeader entry; (entry = stream.getNextEntry()) != null;) {
                        print(entry.getFileName(), stream);
                    }
                }
        }
    }

    private static void print(String name, InputStream data) throws Exception {
        CRC32 crc = new CRC32();
        byte[] buffer = new byte[1 << 16];
        long size = 0;
        for (int count = data.read(buffer); count >= 0; count = data.read(buffer)) {
            crc.update(buffer, 0, count);
            size += count;
        }
        new PrintStream(System.out, true, "UTF-8").println(size + " " + Long.toHexString(crc.getValue()) + " " + name);
    }
}
